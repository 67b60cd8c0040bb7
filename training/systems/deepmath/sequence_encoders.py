"""Encoders of token sequences: [N, C, T] features of any length to one vector [N, D] each.

Every encoder takes the number of real positions beside the features and does not look past it: what stands in the
padding never changes the answer. Sources: DeepMath (Irving et al. 2016), section 4, and the authors' published
model definitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KERNEL_SIZE = 5


class TextConvolution(nn.Conv1d):
    """A convolution whose training does not depend on how many different lengths it meets.

    oneDNN compiles a kernel for every input shape, and statements come in thousands of shapes: measured on a CPU, that
    halved the rate of training. So in training the windows are laid out and multiplied; the result is the same.
    """

    def forward(self, features: Tensor) -> Tensor:
        """[N, C, T] to [N, O, T']."""
        if not self.training:
            return super().forward(features)
        windows = features.unfold(2, self.kernel_size[0], self.stride[0])  # [N, C, T', K]
        windows = windows.transpose(1, 2).flatten(2)  # [N, T', C * K]
        return F.linear(windows, self.weight.flatten(1), self.bias).transpose(1, 2)


class ConvolutionStack(nn.Module):
    """Unpadded convolutions of kernel 5, each with a ReLU; the published final network has strides 2, 2, 1."""

    def __init__(self, in_channels: int, channels: Sequence[int], strides: Sequence[int]):
        super().__init__()
        if len(channels) != len(strides):
            raise ValueError(f"one stride per layer: got {len(channels)} channel counts and {len(strides)} strides")
        widths = [in_channels, *channels]
        self.layers = nn.ModuleList(
            TextConvolution(i, o, KERNEL_SIZE, stride=s)
            for i, o, s in zip(widths[:-1], widths[1:], strides, strict=True)
        )
        self.strides = tuple(strides)
        # The shortest input with one output position: 29 for strides (2, 2, 1).
        self.min_length = 1
        for stride in reversed(self.strides):
            self.min_length = (self.min_length - 1) * stride + KERNEL_SIZE

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[N, C, T] and lengths [N] to [N, D, T'] and lengths [N]; a short sequence is padded up with zeros."""
        features = F.pad(features, (0, self.min_length))  # always: a graph has no branch on the length
        lengths = lengths.clamp(min=self.min_length)
        for layer, stride in zip(self.layers, self.strides, strict=True):
            features = F.relu(layer(features))
            lengths = (lengths - KERNEL_SIZE) // stride + 1
        return features, lengths


class ConvolutionalEncoder(nn.Module):
    """Convolutions, then the maximum over the positions that lie wholly inside the sequence."""

    def __init__(self, in_channels: int, channels: Sequence[int], strides: Sequence[int]):
        super().__init__()
        self.stack = ConvolutionStack(in_channels, channels, strides)
        self.out_features = channels[-1]

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """[N, C, T] and lengths [N] to [N, D]."""
        features, lengths = self.stack(features, lengths)
        outside = torch.arange(features.shape[2], device=features.device) >= lengths[:, None]  # [N, T']
        # After a ReLU zero is the least value, so a zeroed position never wins the maximum.
        return features.masked_fill(outside[:, None, :], 0.0).amax(dim=2)


class RecurrentEncoder(nn.Module):
    """The last state of an LSTM or a GRU, alone or over a convolution stack (the paper's CNN-LSTM)."""

    def __init__(self, in_channels: int, hidden: int, cell: str, stack: ConvolutionStack | None = None):
        super().__init__()
        if cell not in ("lstm", "gru"):
            raise ValueError(f"cell is 'lstm' or 'gru', got {cell!r}")
        self.stack = stack
        self.recurrent = (nn.LSTM if cell == "lstm" else nn.GRU)(in_channels, hidden, batch_first=True)
        self.out_features = hidden
        for name, parameter in self.recurrent.named_parameters():
            if "weight" in name:
                nn.init.trunc_normal_(parameter, std=0.01, a=-0.02, b=0.02)
            else:
                nn.init.zeros_(parameter)
        if cell == "lstm":  # gates are stored in the order input, forget, cell, output; forget bias 1
            with torch.no_grad():
                self.recurrent.get_parameter("bias_ih_l0")[hidden : 2 * hidden] = 1.0

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """[N, C, T] and lengths [N] to [N, D]."""
        if self.stack is not None:
            features, lengths = self.stack(features, lengths)
        states, _ = self.recurrent(features.transpose(1, 2))  # [N, T, D]
        last = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[2])
        return states.gather(1, last).squeeze(1)


class SequenceEncoder(nn.Module):
    """Token ids to an encoding.

    Args:
        vocabulary_size: number of tokens, the unknown token 0 included.
        embedding: None for one-hot tokens (the character level), else a table [V, C] of word embeddings.
        body: the encoder over [N, C, T].
    """

    def __init__(self, vocabulary_size: int, embedding: nn.Embedding | None, body: nn.Module):
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.embedding = embedding
        self.body = body
        self.out_features = cast(int, body.out_features)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Token ids int64 [N, T], -1 in the padding, and lengths int64 [N] to float32 [N, D]."""
        inside = (tokens >= 0)[:, None, :]
        tokens = tokens.clamp(min=0)
        if self.embedding is None:
            classes = torch.arange(self.vocabulary_size, device=tokens.device)
            features = (tokens[:, :, None] == classes).to(torch.float32).transpose(1, 2)  # [N, V, T]
        else:
            features = self.embedding(tokens).transpose(1, 2)  # [N, C, T]
        return self.body(features * inside, lengths)
