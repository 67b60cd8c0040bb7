"""The gradient of a chain of layers, written as forward operators, since ONNX has no automatic differentiation.

Each kind of layer has a rule: from the gradient of its output, and its input and output, to the gradient of its input.
The backward pass of a convolution is a transposed convolution and the other way about; that of a max-pooling routes
each value back to the first place that has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neurips16.export.errors import ExportError

Rule = Callable[[Any, Tensor, Tensor, Tensor], Tensor]  # layer, gradient of the output, input, output


Layers: TypeAlias = Sequence[nn.Module] | nn.ModuleList | nn.Sequential


class Centre(nn.Module):
    """The central ``side`` by ``side`` pixels of images [N, C, H, W]."""

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """To [N, C, side, side]."""
        left, _, top, _ = self.outside(images)
        return images[:, :, top : top + self.side, left : left + self.side]

    def outside(self, images: Tensor) -> list[int]:
        """How many pixels lie to the left, right, top and bottom of the centre."""
        sides = []
        for size in (images.shape[3], images.shape[2]):
            before = (size - self.side) // 2
            sides += [before, size - self.side - before]
        return sides


def check_layers(layers: Layers) -> None:
    """See that there is a rule for every layer.

    Raises:
        ExportError: there is none for some; the text names them.
    """
    unknown = sorted({type(layer).__name__ for layer in layers if type(layer) not in RULES})
    if unknown:
        known = ", ".join(kind.__name__ for kind in RULES)
        raise ExportError(f"there is no rule for the gradient of {', '.join(unknown)}; there are rules for: {known}")


def run_forward(layers: Layers, inputs: Tensor) -> list[Tensor]:
    """The input of the chain and the output of each layer: one more tensor than there are layers."""
    values = [inputs]
    for layer in layers:
        values.append(layer(values[-1]))
    return values


def run_backward(layers: Layers, values: Sequence[Tensor], gradient: Tensor) -> Tensor:
    """The gradient of the chain's input.

    Args:
        layers: the chain.
        values: of `run_forward`.
        gradient: of the chain's output.
    """
    for i in reversed(range(len(layers))):
        gradient = RULES[type(layers[i])](layers[i], gradient, values[i], values[i + 1])
    return gradient


def _linear(layer: nn.Linear, gradient: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return gradient @ layer.weight


def _conv(layer: nn.Conv2d, gradient: Tensor, before: Tensor, after: Tensor) -> Tensor:
    if layer.groups != 1 or layer.dilation != (1, 1) or isinstance(layer.padding, str):
        raise ExportError(f"the gradient of a convolution with groups, dilation or named padding is not: {layer}")
    # Rows and columns at the end that no window reached.
    left = [
        before.shape[axis + 2]
        - ((gradient.shape[axis + 2] - 1) * layer.stride[axis] - 2 * layer.padding[axis] + layer.kernel_size[axis])
        for axis in range(2)
    ]
    return F.conv_transpose2d(gradient, layer.weight, None, layer.stride, layer.padding, output_padding=left)


def _conv_transpose(layer: nn.ConvTranspose2d, gradient: Tensor, before: Tensor, after: Tensor) -> Tensor:
    if layer.groups != 1 or layer.dilation != (1, 1) or layer.output_padding != (0, 0):
        raise ExportError(f"the gradient of an up-convolution with groups, dilation or output padding is not: {layer}")
    return F.conv2d(gradient, layer.weight, None, layer.stride, layer.padding)


def _side(size: int | tuple[int, ...]) -> int:
    if not isinstance(size, int):
        raise ExportError(f"the gradient of a max-pooling is written for one kernel size and stride, got {size}")
    return size


def _max_pool(layer: nn.MaxPool2d, gradient: Tensor, before: Tensor, after: Tensor) -> Tensor:
    if layer.padding != 0 or layer.dilation != 1 or layer.ceil_mode:
        raise ExportError(f"the gradient of a max-pooling with padding, dilation or ceil_mode is not written: {layer}")
    kernel, stride = _side(layer.kernel_size), _side(layer.stride)
    (height, width), channels = after.shape[2:], after.shape[1]
    left = [before.shape[2 + i] - ((after.shape[2 + i] - 1) * stride + kernel) for i in range(2)]
    places = torch.eye(kernel * kernel, dtype=gradient.dtype).reshape(-1, 1, 1, kernel, kernel)
    taken = torch.zeros_like(after)
    total = torch.zeros_like(before)
    for row in range(kernel):
        for column in range(kernel):
            window = before[
                :,
                :,
                row : row + stride * (height - 1) + 1 : stride,
                column : column + stride * (width - 1) + 1 : stride,
            ]
            chosen = (window == after).to(gradient.dtype) * (1 - taken)
            taken = taken + chosen
            place = places[row * kernel + column].expand(channels, 1, kernel, kernel)
            spread = F.conv_transpose2d(gradient * chosen, place, None, stride, groups=channels)
            total = total + F.pad(spread, [0, left[1], 0, left[0]])
    return total


def _relu(layer: nn.ReLU, gradient: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return torch.where(before > 0, gradient, 0.0)


def _leaky_relu(layer: nn.LeakyReLU, gradient: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return torch.where(before > 0, gradient, gradient * layer.negative_slope)


def _sigmoid(layer: nn.Sigmoid, gradient: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return gradient * after * (1 - after)


def _reshape(layer: nn.Module, gradient: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return gradient.reshape(-1, *before.shape[1:])


def _centre(layer: Centre, gradient: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return F.pad(gradient, layer.outside(before))


def _identity(layer: nn.Identity, gradient: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return gradient


RULES: dict[type[nn.Module], Rule] = {
    Centre: _centre,
    nn.Conv2d: _conv,
    nn.ConvTranspose2d: _conv_transpose,
    nn.Flatten: _reshape,
    nn.Identity: _identity,
    nn.LeakyReLU: _leaky_relu,
    nn.Linear: _linear,
    nn.MaxPool2d: _max_pool,
    nn.ReLU: _relu,
    nn.Sigmoid: _sigmoid,
    nn.Unflatten: _reshape,
}
