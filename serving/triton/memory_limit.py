"""A bound on the memory that a server takes: beyond it the server ends and is started again, not its neighbours.

A request of a megabyte on the wire can be a gigabyte once it is decompressed, and several in the server: Triton 2.51
has no bound on messages but gRPC's 2 GiB. A container or a service manager has better means (``memory`` in
compose.yaml, ``MemoryMax=``); this one needs no rights. It counts what a process allocates, not files that it maps.
"""

from __future__ import annotations

import re
import resource

from neurips16.serving.errors import ServerFailedError

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
SMALLEST = 256 << 20  # what a server takes without a model
_SIZE = re.compile(r"(\d{1,15}) ?([KMGT]?)(i?B)?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes from a text like ``8G``, ``8GiB`` or ``512M``; a unit is a power of 1024.

    Raises:
        ValueError: it is no size, or less than a server needs.
    """
    match = _SIZE.fullmatch(text.strip())
    size = int(match[1]) * UNITS[match[2].upper()] if match else 0
    if size < SMALLEST:
        raise ValueError(f"{text!r} is no size of at least {SMALLEST >> 20}M: say 8G, for instance")
    return size


def limit_memory(pid: int, size: int) -> None:
    """Let a process, and what it starts, allocate no more than ``size`` bytes each.

    Raises:
        ServerFailedError: the system does not permit it.
    """
    try:
        resource.prlimit(pid, resource.RLIMIT_DATA, (size, size))
    except ProcessLookupError:  # it has ended already, and who waits for it says why
        return
    except (OSError, ValueError) as error:
        raise ServerFailedError(f"the server's memory cannot be limited to {size} bytes: {error}") from error
