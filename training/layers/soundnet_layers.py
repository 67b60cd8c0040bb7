"""SoundNet's convolutional trunks, exactly as published (Aytar et al., NIPS 2016; the authors' training scripts).

Every layer is a one-dimensional convolution, batch normalisation and ReLU, some with a max pool behind. A trunk hands
out each of these by name, numbered from 1: ``conv6`` is what the sixth convolution gives, ``relu6`` what stands behind
its normalisation and ReLU, ``pool5`` the pool behind the fifth layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

SAMPLE_RATE_HZ = 22_050
AMPLITUDE = 256.0  # the networks read [-256, 256]: 32-bit samples times 2^-23; our waveforms are in [-1, 1]


@dataclass(frozen=True)
class Layer:
    """One row of the table: a convolution, and the width of the max pool behind it (1: none)."""

    channels: int
    kernel: int
    stride: int
    pad: int
    pool: int = 1

    def length(self, samples: int) -> int:
        """How long the layer's output is, from the length of its input."""
        return ((samples + 2 * self.pad - self.kernel) // self.stride + 1) // self.pool


# depth as the paper counts it, the output layer included -> the layers below the heads
TRUNKS = {
    8: (
        Layer(16, 64, 2, 32, pool=8),
        Layer(32, 32, 2, 16, pool=8),
        Layer(64, 16, 2, 8),
        Layer(128, 8, 2, 4),
        Layer(256, 4, 2, 2, pool=4),
        Layer(512, 4, 2, 2),
        Layer(1024, 4, 2, 2),
    ),
    5: (
        Layer(32, 64, 2, 32, pool=8),
        Layer(64, 32, 2, 16, pool=8),
        Layer(128, 16, 2, 8, pool=8),
        Layer(256, 8, 2, 4),
    ),
}
HEADS = {8: Layer(0, 8, 2, 0), 5: Layer(0, 16, 12, 4)}  # both heads alike; their channels are the classes


class Block(nn.Module):
    """A convolution, its normalisation and ReLU, and the pool behind."""

    def __init__(self, in_channels: int, layer: Layer, channels: int):
        super().__init__()
        self.conv = nn.Conv1d(in_channels, channels, layer.kernel, layer.stride, layer.pad)
        self.norm = nn.BatchNorm1d(channels)  # eps 1e-5 and momentum 0.1 are Torch's as well
        self.pool = nn.MaxPool1d(layer.pool) if layer.pool > 1 else None

    def forward(self, values: Tensor) -> Tensor:
        """[N, C, T] to [N, D, T']."""
        values = torch.relu(self.norm(self.conv(values)))
        return values if self.pool is None else self.pool(values)

    def named(self, values: Tensor, number: int) -> dict[str, Tensor]:
        """The block's outputs by name, the last of them what the next block reads."""
        conv = self.conv(values)
        out = {f"conv{number}": conv, f"relu{number}": torch.relu(self.norm(conv))}
        if self.pool is not None:
            out[f"pool{number}"] = self.pool(out[f"relu{number}"])
        return out


class SoundNetTrunk(nn.Module):
    """The layers below the heads.

    Args:
        depth: 8 or 5, as the paper counts.
        width: factor on the published numbers of channels.
        layers: keep the first so many only; None keeps all.

    Raises:
        ValueError: there is no such depth or number of layers.
    """

    def __init__(self, depth: int = 8, width: float = 1.0, layers: int | None = None):
        super().__init__()
        if depth not in TRUNKS:
            raise ValueError(f"depth is one of {', '.join(map(str, TRUNKS))}, got {depth}")
        if layers is not None and not 0 < layers <= len(TRUNKS[depth]):
            raise ValueError(f"layers is 1 to {len(TRUNKS[depth])} for depth {depth}, got {layers}")
        self.table = TRUNKS[depth][:layers]
        channels = [1, *(max(1, round(layer.channels * width)) for layer in self.table)]
        self.blocks = nn.ModuleList(
            Block(before, layer, after)
            for before, layer, after in zip(channels[:-1], self.table, channels[1:], strict=True)
        )
        self.channels = channels[-1]

    def forward(self, waveform: Tensor) -> Tensor:
        """Waveforms in [-1, 1], [N, T], to the last block's output [N, C, S]."""
        values = waveform[:, None, :] * AMPLITUDE
        for block in self.blocks:
            values = block(values)
        return values

    def features(self, waveform: Tensor) -> dict[str, Tensor]:
        """Every named output, [N, C, S] each."""
        values = waveform[:, None, :] * AMPLITUDE
        found: dict[str, Tensor] = {}
        for number, block in enumerate(self.blocks, start=1):
            assert isinstance(block, Block)
            outputs = block.named(values, number)
            values = next(reversed(outputs.values()))
            found |= outputs
        return found

    def length(self, samples: int) -> int:
        """How many steps S the trunk gives for so many samples."""
        for layer in self.table:
            samples = layer.length(samples)
        return samples

    @property
    def samples_per_step(self) -> int:
        """Samples from one step to the next."""
        samples = 1
        for layer in self.table:
            samples *= layer.stride * layer.pool
        return samples


def initialise(module: nn.Module, scheme: str) -> None:
    """Set the weights: "paper" (normal, deviation .01; gains normal, 1 ± .02) or "he" (scaled by the layer's inputs).

    Raises:
        ValueError: there is no such scheme.
    """
    if scheme not in ("paper", "he"):
        raise ValueError(f"initialisation is 'paper' or 'he', got {scheme!r}")
    for part in module.modules():
        if isinstance(part, nn.Conv1d):
            if scheme == "paper":
                nn.init.normal_(part.weight, std=0.01)
            else:
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.BatchNorm1d) and scheme == "paper":
            nn.init.normal_(part.weight, 1.0, 0.02)


def repeated(waveform: Tensor, samples: int) -> Tensor:
    """Waveforms [N, T] repeated from their start to at least ``samples``; longer ones stay as they are."""
    length = waveform.shape[1]
    places = torch.arange(torch.sym_max(length, samples), device=waveform.device)
    # The length as a tensor: the exporter knows no remainder of a free length.
    return waveform.index_select(1, places % torch.full((1,), length, device=waveform.device))
