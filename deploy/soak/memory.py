"""The memory of the server's process, which hosts all models, sampled while requests are answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import psutil

from neurips16.serving import TritonServer

SERVER = "the server"
WARM_UP = 0.2  # of all requests: arenas and pools grow until every size has come by
PER = 10_000  # requests, for which a trend is stated
FEWEST = 10_000  # requests after the warm-up, below which a trend says little
MB = 1e6


@dataclass(frozen=True)
class Sample:
    """Resident memory at one moment."""

    answered: int  # requests before
    resident_mb: dict[str, float]  # by process


@dataclass(frozen=True)
class Trend:
    """What became of the memory of one process."""

    warm_mb: float  # when it was warm
    last_mb: float
    slope_mb: float  # the least-squares line's, for `PER` requests; NaN where there are too few samples
    requests: int  # that it was seen over


class MemoryWatch:
    """Samples from beginning to end of a ``with``, the last of them at the end: a short load has one too.

    Args:
        server: whose memory it is.
        answered: says how many requests are over.
        every_s: from one sample to the next.
    """

    def __init__(self, server: TritonServer, answered: Callable[[], int], every_s: float = 1.0):
        self._server = server
        self._answered = answered
        self._every_s = every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak-memory", daemon=True)
        self.samples: list[Sample] = []

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        if kind is None:
            self.samples.append(self.sample())

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            self.samples.append(self.sample())

    def sample(self) -> Sample:
        """The memory now."""
        answered = self._answered()
        return Sample(answered, {SERVER: psutil.Process(self._server.pid).memory_info().rss / MB})


def trends(samples: Sequence[Sample]) -> dict[str, Trend]:
    """The trend of each process after the warm-up, by least squares over the requests answered."""
    if not samples:
        return {}
    total = samples[-1].answered
    warm = [sample for sample in samples if sample.answered >= WARM_UP * total]
    found = {}
    for name in samples[-1].resident_mb:
        seen = [(s.answered, s.resident_mb[name]) for s in warm if name in s.resident_mb]
        requests, memory = (np.array(column, float) for column in zip(*seen, strict=True))
        spread = requests - requests.mean()
        slope = PER * (spread @ memory) / (spread @ spread) if (spread != 0).any() else float("nan")
        found[name] = Trend(float(memory[0]), float(memory[-1]), float(slope), int(requests[-1] - requests[0]))
    return found
