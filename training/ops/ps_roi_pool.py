"""Position-sensitive RoI pooling of R-FCN, as ``neurips16::ps_roi_pool``.

A RoI is cut into k x k bins, and bin (i, j) of class c averages the RoI's pixels of one score map only, number
``(c * k + i) * k + j``: maps learn to answer "is this the i-th row, j-th column of an object of class c?".

The edges of the bins are those of the authors' Caffe layer, computed in float32 as there: corners are rounded half
away from zero, the last pixel counts as inside (+1), a RoI is at least 0.1 feature pixels wide and high, and bins are
widened to whole feature pixels, so neighbours overlap. Do not "fix" any of these: the pixels of a bin change with them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

SMALLEST_SIZE = 0.1  # feature pixels


def ps_roi_pool(scores: Tensor, rois: Tensor, spatial_scale: float, group_size: int) -> Tensor:
    """Average each bin of each RoI over the score map that belongs to it.

    Args:
        scores: position-sensitive score maps [N, C*k*k, H, W], float32 or float64.
        rois: [R, 5] as batch index, x0, y0, x1, y1 in image pixels, both corners inside the box.
        spatial_scale: feature pixels per image pixel, 1/16 at stride 16.
        group_size: k, bins per side.

    Returns:
        [R, C, k, k]; bins without a pixel inside the map are 0. Differentiable in ``scores``, not in ``rois``.

    Raises:
        ValueError: a shape, a type or an attribute does not fit, or a RoI is not finite or names no image of the batch.
    """
    return _ps_roi_pool(scores, rois, spatial_scale, group_size)


@torch.library.custom_op("neurips16::ps_roi_pool", mutates_args=())
def _ps_roi_pool(scores: Tensor, rois: Tensor, spatial_scale: float, group_size: int) -> Tensor:
    _check_shapes(scores, rois, spatial_scale, group_size)
    _check_rois(rois, images=scores.shape[0])
    pixels = _pixels_of_bins(rois, spatial_scale, group_size, scores.shape)
    # A bin is a bag of pixels, a pixel is a row of C values: the mean of ragged bags is what embedding_bag computes.
    means = F.embedding_bag(pixels.row, _channels_last(scores, group_size), pixels.start, mode="mean")  # [R*k*k, C]
    return means.reshape(rois.shape[0], group_size, group_size, means.shape[1]).permute(0, 3, 1, 2).contiguous()


@_ps_roi_pool.register_fake
def _(scores: Tensor, rois: Tensor, spatial_scale: float, group_size: int) -> Tensor:
    _check_shapes(scores, rois, spatial_scale, group_size)
    return scores.new_empty(rois.shape[0], scores.shape[1] // group_size**2, group_size, group_size)


@torch.library.custom_op("neurips16::ps_roi_pool_backward", mutates_args=())
def _ps_roi_pool_backward(
    gradient: Tensor, rois: Tensor, spatial_scale: float, images: int, height: int, width: int
) -> Tensor:
    """The adjoint of `ps_roi_pool`: [R, C, k, k] -> [N, C*k*k, H, W]."""
    channels, k = gradient.shape[1], gradient.shape[2]
    pixels = _pixels_of_bins(rois, spatial_scale, k, (images, channels * k * k, height, width))
    share = gradient.permute(0, 2, 3, 1).reshape(-1, channels) / pixels.sizes.clamp(min=1)[:, None]  # [R*k*k, C]
    table = gradient.new_zeros(images * k * k * height * width, channels)
    table.index_add_(0, pixels.row, share[pixels.bin])
    return table.reshape(images, k * k, height, width, channels).permute(0, 4, 1, 2, 3).flatten(1, 2).contiguous()


@_ps_roi_pool_backward.register_fake
def _(gradient: Tensor, rois: Tensor, spatial_scale: float, images: int, height: int, width: int) -> Tensor:
    return gradient.new_empty(images, gradient.shape[1] * gradient.shape[2] ** 2, height, width)


def _save_for_backward(ctx, inputs: tuple, output: Tensor) -> None:
    scores, rois, ctx.spatial_scale, _ = inputs
    ctx.save_for_backward(rois)
    ctx.images, _, ctx.height, ctx.width = scores.shape


def _backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
    (rois,) = ctx.saved_tensors
    in_scores = _ps_roi_pool_backward(gradient, rois, ctx.spatial_scale, ctx.images, ctx.height, ctx.width)
    return in_scores, None, None, None


def _save_for_double_backward(ctx, inputs: tuple, output: Tensor) -> None:
    gradient, rois, ctx.spatial_scale, *_ = inputs
    ctx.save_for_backward(rois)
    ctx.group_size = gradient.shape[2]


def _double_backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None, None, None]:
    (rois,) = ctx.saved_tensors
    return _ps_roi_pool(gradient, rois, ctx.spatial_scale, ctx.group_size), None, None, None, None, None


# Both are linear in their first argument, and each is the other's adjoint.
_ps_roi_pool.register_autograd(_backward, setup_context=_save_for_backward)
_ps_roi_pool_backward.register_autograd(_double_backward, setup_context=_save_for_double_backward)
for _device_type in ("cpu", "cuda"):
    _ps_roi_pool.register_autocast(_device_type, torch.float32)  # corners in half precision would move the bins


class _Pixels(NamedTuple):
    """The pixels of all R*k*k bins, one bin after another (P pixels in all)."""

    row: Tensor  # int64 [P], of the channels-last table
    bin: Tensor  # int64 [P], which bin each belongs to
    start: Tensor  # int64 [R*k*k], where each bin begins in ``row``
    sizes: Tensor  # int64 [R*k*k], the number of pixels in each


def _pixels_of_bins(rois: Tensor, spatial_scale: float, k: int, scores_shape: tuple[int, ...]) -> _Pixels:
    _, _, height, width = scores_shape
    x_first, x_last = _bin_edges(rois[:, 1], rois[:, 3], spatial_scale, k, width)  # [R, k] each
    y_first, y_last = _bin_edges(rois[:, 2], rois[:, 4], spatial_scale, k, height)

    shape = (rois.shape[0], k, k)  # RoI, row of bins, column of bins
    columns = (x_last - x_first).clamp(min=0)[:, None, :].expand(shape).flatten()
    rows = (y_last - y_first).clamp(min=0)[:, :, None].expand(shape).flatten()
    x_first = x_first[:, None, :].expand(shape).flatten()
    y_first = y_first[:, :, None].expand(shape).flatten()
    cell = torch.arange(k * k, device=rois.device).reshape(1, k, k)
    score_map = (rois[:, 0].long()[:, None, None] * k * k + cell).flatten()

    count = rows * columns
    start = count.cumsum(0) - count
    bin_of = torch.repeat_interleave(torch.arange(count.numel(), device=rois.device), count)
    within = torch.arange(bin_of.numel(), device=rois.device) - start[bin_of]
    y = y_first[bin_of] + within // columns[bin_of]
    x = x_first[bin_of] + within % columns[bin_of]
    return _Pixels((score_map[bin_of] * height + y) * width + x, bin_of, start, count)


def _bin_edges(low: Tensor, high: Tensor, spatial_scale: float, k: int, limit: int) -> tuple[Tensor, Tensor]:
    """First pixel and one past the last pixel of each of the k bins along one axis, int64 [R, k] each."""
    begin = _round_half_away(low.float()) * spatial_scale
    end = (_round_half_away(high.float()) + 1) * spatial_scale
    bin_size = (end - begin).clamp(min=SMALLEST_SIZE) / k
    step = torch.arange(k, dtype=torch.float32, device=low.device)
    first = torch.floor(step * bin_size[:, None] + begin[:, None])
    last = torch.ceil((step + 1) * bin_size[:, None] + begin[:, None])
    return first.clamp(0, limit).long(), last.clamp(0, limit).long()


def _round_half_away(x: Tensor) -> Tensor:
    """C's ``round``; ``torch.round`` takes halves to the even neighbour."""
    return x.trunc() + x.sign() * (x.frac().abs() >= 0.5)


def _channels_last(scores: Tensor, k: int) -> Tensor:
    """Score maps as a table of C values for each (image, bin, pixel): [N*k*k*H*W, C]."""
    images, _, height, width = scores.shape
    return scores.reshape(images, -1, k * k, height, width).permute(0, 2, 3, 4, 1).flatten(0, 3).contiguous()


def _check_shapes(scores: Tensor, rois: Tensor, spatial_scale: float, group_size: int) -> None:
    if group_size < 1:
        raise ValueError(f"group_size is the number of bins per side and at least 1, got {group_size}")
    if not spatial_scale > 0:
        raise ValueError(f"spatial_scale is feature pixels per image pixel and above 0, got {spatial_scale}")
    if scores.dim() != 4:
        raise ValueError(f"scores must be [N, C*k*k, H, W], got {list(scores.shape)}")
    if rois.dim() != 2 or rois.shape[1] != 5:
        raise ValueError(f"rois must be [R, 5] (batch index, x0, y0, x1, y1), got {list(rois.shape)}")
    if scores.shape[1] % group_size**2:
        raise ValueError(
            f"scores have {scores.shape[1]} channels, which {group_size} x {group_size} bins do not divide evenly"
        )
    if scores.dtype not in (torch.float32, torch.float64) or not rois.is_floating_point():
        raise ValueError(f"scores must be float32 or float64 and rois floating, got {scores.dtype} and {rois.dtype}")


def _check_rois(rois: Tensor, images: int) -> None:
    image = rois[:, 0].trunc()
    wrong = ~(rois.isfinite().all(dim=1) & (image >= 0) & (image < images))
    if wrong.any():
        first = int(wrong.nonzero()[0])
        raise ValueError(
            f"RoI {first} is {rois[first].tolist()}: its values must be finite and its batch index in 0..{images - 1}"
        )
