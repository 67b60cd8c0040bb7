"""Residual networks (He et al. 2015) as R-FCN uses them: two maps, conv4 at stride 16 and conv5 dilated ("à trous").

The à trous change (R-FCN, section 2): the last stage keeps stride 16 in place of 32, and its 3x3 convolutions have
dilation 2, so that each sees what it saw before. Weights of a classifier trained without the change still fit.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neurips16.training.errors import CheckpointError
from neurips16.training.tensor_file import read_tensor_file

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
BOTTLENECK_DEPTHS = (50, 101, 152)
NORMS = ("frozen", "batch")
STAGES = ("conv2", "conv3", "conv4", "conv5")


class FrozenBatchNorm(nn.Module):
    """Batch normalisation with the statistics, the scale and the shift that were loaded: nothing is learnt."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int):
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))
        self.eps = 1e-5

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return x * scale[:, None, None] + (self.bias - self.running_mean * scale)[:, None, None]


class ConvNorm(nn.Module):
    """A convolution without bias and the normalisation behind it."""

    def __init__(self, inner: int, outer: int, size: int, norm: str, stride: int = 1, dilation: int = 1):
        super().__init__()
        padding = dilation * (size // 2)
        self.conv = nn.Conv2d(inner, outer, size, stride, padding, dilation, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        self.norm = FrozenBatchNorm(outer) if norm == "frozen" else nn.BatchNorm2d(outer)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inner, H, W] to [N, outer, H', W']."""
        return self.norm(self.conv(x))

    def fused(self) -> nn.Conv2d:
        """The one convolution that the two are in evaluation mode."""
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        with torch.no_grad():
            conv = copy.deepcopy(self.conv)
            conv.weight.mul_(scale[:, None, None, None])
            conv.bias = nn.Parameter(norm.bias - norm.running_mean * scale)
        return conv


class Block(nn.Module):
    """A residual block: two 3x3 convolutions, or the 1x1, 3x3, 1x1 of a bottleneck.

    Args:
        inner: channels that come in.
        outer: channels that go out.
        bottleneck: which of the two forms; a bottleneck is a quarter as wide inside.
        norm: see `ResNet`.
        stride: of the block.
        dilation: of its 3x3 convolutions.
        entry_dilation: of that 3x3 convolution which carries the stride, where one does.
        stride_in_1x1: a bottleneck's stride is in its first 1x1 convolution, else in the 3x3.
    """

    def __init__(
        self,
        inner: int,
        outer: int,
        *,
        bottleneck: bool,
        norm: str,
        stride: int,
        dilation: int,
        entry_dilation: int,
        stride_in_1x1: bool,
    ):
        super().__init__()
        if bottleneck:
            first, middle = (stride, 1) if stride_in_1x1 else (1, stride)
            width = outer // 4
            self.conv1 = ConvNorm(inner, width, 1, norm, first)
            self.conv2 = ConvNorm(width, width, 3, norm, middle, dilation if stride_in_1x1 else entry_dilation)
            self.conv3: ConvNorm | None = ConvNorm(width, outer, 1, norm)
        else:
            self.conv1 = ConvNorm(inner, outer, 3, norm, stride, entry_dilation)
            self.conv2 = ConvNorm(outer, outer, 3, norm, dilation=dilation)
            self.conv3 = None
        self.shortcut = ConvNorm(inner, outer, 1, norm, stride) if stride != 1 or inner != outer else None
        if norm == "batch":  # a block starts as the identity
            nn.init.zeros_((self.conv3 or self.conv2).norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inner, H, W] to [N, outer, H / stride, W / stride]."""
        y = self.conv2(F.relu(self.conv1(x)))
        if self.conv3 is not None:
            y = self.conv3(F.relu(y))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet(nn.Module):
    """The convolutional part of a residual network.

    Args:
        depth: a key of `BLOCKS`; 50 and deeper are made of bottlenecks.
        width: channels of the stem, 64 in the paper.
        norm: "frozen" (the paper: statistics and scales stay as imported) or "batch" (to train from scratch).
        atrous: whether the last stage is dilated, at stride 16, or at stride 32.
        stride_in_1x1: the paper's form; torchvision's weights were trained with the stride in the 3x3.
        frozen_stages: parts, from the stem on, whose weights are not trained; 2 in the paper (stem and conv2).
    """

    conv2: nn.Sequential
    conv3: nn.Sequential
    conv4: nn.Sequential
    conv5: nn.Sequential

    def __init__(
        self,
        depth: int = 101,
        width: int = 64,
        norm: str = "frozen",
        *,
        atrous: bool = True,
        stride_in_1x1: bool = True,
        frozen_stages: int = 0,
    ):
        super().__init__()
        if depth not in BLOCKS or norm not in NORMS:
            raise ValueError(
                f"depth is one of {', '.join(map(str, BLOCKS))} and norm one of {', '.join(NORMS)}; "
                f"got {depth} and {norm!r}"
            )
        bottleneck = depth in BOTTLENECK_DEPTHS
        self.stem = ConvNorm(3, width, 7, norm, stride=2)
        channels, inner = [], width
        for i, blocks in enumerate(BLOCKS[depth]):
            outer = width * 2**i * (4 if bottleneck else 1)
            dilation = 2 if atrous and i == 3 else 1
            stride = 1 if i == 0 or dilation > 1 else 2
            stage = []
            for block in range(blocks):
                stage.append(
                    Block(
                        inner,
                        outer,
                        bottleneck=bottleneck,
                        norm=norm,
                        stride=stride if block == 0 else 1,
                        dilation=dilation,
                        # What would carry the stride still reads the undilated map: only what follows is spread out.
                        entry_dilation=1 if block == 0 else dilation,
                        stride_in_1x1=stride_in_1x1,
                    )
                )
                inner = outer
            setattr(self, STAGES[i], nn.Sequential(*stage))
            channels.append(outer)
        self.conv4_channels, self.conv5_channels = channels[2:]
        self.conv4_stride, self.conv5_stride = 16, 16 if atrous else 32
        for part in [self.stem, *(getattr(self, stage) for stage in STAGES)][:frozen_stages]:
            part.requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images [N, 3, H, W] to conv4 [N, C4, ceil(H/16), ceil(W/16)] and conv5 [N, C5, …]."""
        x = F.max_pool2d(F.relu(self.stem(images)), 3, stride=2, padding=1)
        conv4 = self.conv4(self.conv3(self.conv2(x)))
        return conv4, self.conv5(conv4)


def fuse_norms(module: nn.Module) -> nn.Module:
    """A copy of ``module``, in evaluation mode, in which each `ConvNorm` is one convolution."""
    module = copy.deepcopy(module).eval()
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ConvNorm):
                setattr(parent, name, child.fused())
    return module


def torchvision_key(key: str) -> str:
    """The name in torchvision's ResNet of a tensor of ours: of ``conv3.0.conv1.norm.bias``, ``layer2.0.bn1.bias``."""
    stage, *path, part, tensor = key.split(".")
    if stage == "stem":
        return f"{'conv1' if part == 'conv' else 'bn1'}.{tensor}"
    block, layer = path
    layers = f"layer{STAGES.index(stage) + 1}.{block}"
    if layer == "shortcut":
        return f"{layers}.downsample.{0 if part == 'conv' else 1}.{tensor}"
    return f"{layers}.{layer if part == 'conv' else layer.replace('conv', 'bn')}.{tensor}"


def load_imagenet_weights(network: ResNet, path: str | Path) -> None:
    """Fill ``network`` from a state-dict file in torchvision's key layout (the classifier ``fc`` is left out).

    Raises:
        CheckpointError: the file cannot be read, lacks tensors, or has others or other shapes; all are listed.
    """
    found = read_tensor_file(path)
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path} holds a {type(found).__name__}, expected a state-dict of tensors")
    own = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    wanted = {torchvision_key(key): key for key in own}
    problems = [f"{name} is missing" for name in wanted if name not in found]
    for name, value in found.items():
        if name.startswith("fc.") or name.endswith("num_batches_tracked"):
            continue
        if name not in wanted:
            problems.append(f"{name} belongs to no layer of this network")
        elif value.shape != own[wanted[name]].shape:
            problems.append(f"{name} has shape {list(value.shape)}, expected {list(own[wanted[name]].shape)}")
    if problems:
        more = f" and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise CheckpointError(
            f"{path} is not of this network (depth and width must be the same): {'; '.join(problems[:8])}{more}"
        )
    network.load_state_dict({key: found[name] for name, key in wanted.items()}, strict=False)
