"""Chains of layers made smaller before they are exported: normalisation folded, large layers as products of two."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval


def fold_normalisation(chain: nn.Sequential) -> None:
    """Fold each batch normalisation of a chain, in evaluation mode, into the layer with weights before it.

    The exporter would do so as well, but only after the weights have been rounded to FP16, which undoes the rounding.
    """
    for i, (layer, norm) in enumerate(pairwise(list(chain))):
        if not isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            continue
        if isinstance(layer, nn.Linear):
            chain[i] = fuse_linear_bn_eval(layer, norm)
        elif isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            chain[i] = fuse_conv_bn_eval(layer, norm, transpose=isinstance(layer, nn.ConvTranspose2d))
        else:
            continue
        chain[i + 1] = nn.Identity()


@torch.no_grad()
def limit_rank(chain: nn.Sequential, inputs: Tensor, rank: int) -> None:
    """Replace a chain's largest fully connected layer by the product of two, the best one for some inputs.

    Least squares: the principal components of the layer's outputs are kept.

    Args:
        chain: in evaluation mode, its normalisation folded.
        inputs: of the chain, more than ``rank`` of them.
        rank: values between the two layers.

    Raises:
        ValueError: the layer has no such rank.
    """
    place = max(
        (i for i, layer in enumerate(chain) if isinstance(layer, nn.Linear)),
        key=lambda i: chain[i].get_parameter("weight").numel(),
    )
    layer = chain[place]
    assert isinstance(layer, nn.Linear)
    if not 0 < rank <= min(layer.in_features, layer.out_features, len(inputs) - 1):
        raise ValueError(
            f"a rank of {rank} is not possible for a layer from {layer.in_features} to {layer.out_features} values "
            f"and {len(inputs)} inputs: give a smaller one, or 0 to leave the layer as it is"
        )
    outputs = layer(nn.Sequential(*list(chain)[:place])(inputs))
    mean = outputs.mean(0)
    components = torch.linalg.svd(outputs - mean, full_matrices=False).Vh[:rank]  # [rank, out]
    reduce, expand = nn.Linear(layer.in_features, rank), nn.Linear(rank, layer.out_features)
    reduce.weight.copy_(components @ layer.weight)
    reduce.bias.copy_(components @ (layer.bias - mean))
    expand.weight.copy_(components.T)
    expand.bias.copy_(mean)
    chain[place] = nn.Sequential(reduce, expand)
