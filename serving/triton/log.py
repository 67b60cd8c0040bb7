"""The server's log: each line gets its level, goes to Python's logging, and the last ones are kept.

Levels serve the reader only. Nothing decides by what a line says: readiness and load errors come from the server's
own status calls.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import deque

logger = logging.getLogger("neurips16.serving.triton.log")

KEPT_LINES = 200
_HEADER = re.compile(r"([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ \d+ ([\w./-]+):\d+\] ?(.*)")
_LEVELS = {"I": logging.DEBUG, "W": logging.WARNING, "E": logging.ERROR, "F": logging.CRITICAL}
_CHATTER = (
    "Signal (15) received",  # we sent it
    "Removing initializer '",  # ONNX Runtime tidies up a graph that the exporter left so
)
# Where the server logs that a model did not load, several times for each; the status call has the reason, too.
_LOAD_SOURCES = ("backend_model.cc", "model_lifecycle.cc", "tritonserver.cc")
# What this server says on every machine without a GPU: true, and of no use to anyone who asked for none.
_NO_GPU_CHATTER = (
    "CudaDriverHelper has not been initialized",
    "failed to allocate pinned system memory",
    "Failed to initialize NVML",
)


class ServerLog:
    """Collects the lines of one server. Safe to feed and to read from different threads.

    Args:
        load_failures: pass on, once each, that a model did not load: for a server whose loads are asked for by others.
            Who starts the loads logs the reasons that the status calls give.
    """

    def __init__(self, *, load_failures: bool = False) -> None:
        self._repeated = _LOAD_SOURCES if not load_failures else tuple(set(_LOAD_SOURCES) - {"model_lifecycle.cc"})
        self._chatter: tuple[str, ...] = _CHATTER
        self._lines: deque[tuple[int, str]] = deque(maxlen=KEPT_LINES)
        self._lock = threading.Lock()

    def leave_out_gpu_chatter(self) -> None:
        """Take what the server says about a missing GPU for no warning: none is meant to be used."""
        self._chatter = _CHATTER + _NO_GPU_CHATTER

    def feed(self, line: str) -> None:
        """Take one line, without its newline."""
        level, text = self._classify(line)
        with self._lock:
            self._lines.append((level, text))
        logger.log(level, "%s", text)

    def tail(self, count: int = 20, *, level: int = logging.DEBUG) -> list[str]:
        """The last ``count`` lines of at least ``level``, oldest first."""
        with self._lock:
            lines = [text for line_level, text in self._lines if line_level >= level]
        return lines[-count:]

    def _classify(self, line: str) -> tuple[int, str]:
        match = _HEADER.match(line)
        level, source, text = (_LEVELS[match[1]], match[2], match[3]) if match else (logging.INFO, "", line)
        if not match and (not line.strip() or line[0] in "+|"):
            level = logging.DEBUG  # the tables that the server draws at its start
        if source in self._repeated or any(chatter in text for chatter in self._chatter):
            level = logging.DEBUG
        return level, text.strip('"') if match else text
