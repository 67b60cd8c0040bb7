"""What a specification may hold, at most: it may come with a file of any origin, and all that serve it read it.

Each bound is far above what a model needs, and far below what would hurt who reads it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from neurips16.export.errors import SpecError

MAX_JSON_BYTES = 4 << 20  # of a whole specification
MAX_DEPTH = 32  # of its provenance, the one part that is free
MAX_NAME, MAX_LINE, MAX_TEXT = 128, 1024, 16_384  # characters
MAX_TENSORS, MAX_DIMS, MAX_DIM = 64, 16, 2**31 - 1
MAX_BATCH_SIZE, MAX_INSTANCES = 65_536, 64
MAX_BATCHING_DELAY_US = 1_000_000
MAX_LABELS = 65_536
MAX_STATE_BYTES = 16 << 20  # of one sequence; a server keeps those of hundreds
MAX_PARAMETERS, MAX_PARAMETER = 64, 65_536

# A client's fact is plain snake_case. What backends obey is not (EXECUTION_ENV_PATH, session.…, TRITON_…), or it begins
# with one of these words, which belong to them (intra_op_thread_count, enable_mem_arena, gpu_mem_limit and their kind).
PARAMETER_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
BACKENDS_WORDS = re.compile(
    "arena|backend|cuda|cudnn|device|disable|do|enable|ep|execution|force|global|gpu|inter|intra|memory|migraphx|"
    "openvino|optimization|prefer|python|rocm|session|share|shm|stub|tensorrt|triton|trt|tunable|use"
)


def check_text(what: str, value: Any, at_most: int = MAX_LINE) -> str:
    """A text that can be written as UTF-8, of bounded length.

    Raises:
        SpecError: it is something else; so for all functions here.
    """
    if not isinstance(value, str):
        raise SpecError(f"{what} is {shown(value)}, expected a text")
    if len(value) > at_most:
        raise SpecError(f"{what} has {len(value)} characters, at most {at_most} are read")
    if any("\ud800" <= character <= "\udfff" or character == "\0" for character in value):
        raise SpecError(f"{what} is no text that can be written: {shown(value)}")
    return value


def check_whole(what: str, value: Any, low: int, high: int) -> int:
    """A whole number between ``low`` and ``high``, both included."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise SpecError(f"{what} is {shown(value)}, expected a whole number")
    if value < low:
        raise SpecError(f"{what} is at least {low}, got {shown(value)}")
    if value > high:
        raise SpecError(f"{what} is at most {high}, got {shown(value)}")
    return value


def check_number(what: str, value: Any) -> float:
    """A number; infinite and undefined ones are for the caller to judge."""
    number = isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool))
    if not number or 1e300 < abs(value) < math.inf:
        raise SpecError(f"{what} is {shown(value)}, expected a number")
    return value


def check_range(what: str, value: Any) -> None:
    """The smallest and the largest permitted value."""
    if len(check_list(what, value, (int, float), 2)) != 2:
        raise SpecError(f"{what} has {len(value)} ends, expected the smallest value and the largest")
    low, high = (check_number(what, end) for end in value)
    if not -math.inf < low <= high < math.inf:
        raise SpecError(f"{what} goes from {low} to {high}, expected two finite numbers, the smallest first")


def check_value(what: str, value: Any, kind: np.dtype) -> None:
    """A finite number that a tensor of ``kind`` can hold."""
    check_number(what, value)
    if kind.kind == "f":
        fits = abs(value) <= float(np.finfo(kind).max)
    else:
        low, high = (0, 1) if kind.kind == "b" else (int(np.iinfo(kind).min), int(np.iinfo(kind).max))
        fits = low <= value <= high and value == int(value)
    if not fits:
        raise SpecError(f"{what} is {shown(value)}, which is none of {kind}")


def check_flag(what: str, value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise SpecError(f"{what} is {shown(value)}, expected true or false")
    return value


def check_list(what: str, value: Any, of: type | tuple[type, ...], at_most: int = MAX_TENSORS) -> tuple[Any, ...]:
    """A tuple of bounded length whose elements are of one type, or of several."""
    if not isinstance(value, tuple) or any(not isinstance(element, of) for element in value):
        kinds = " or ".join(kind.__name__ for kind in (of if isinstance(of, tuple) else (of,)))
        raise SpecError(f"{what}: {shown(value)}, expected a list of {kinds}")
    if len(value) > at_most:
        raise SpecError(f"{what} has {len(value)} entries, at most {at_most} are read")
    return value


def check_dims(what: str, dims: Any) -> None:
    """Axes: names (free, one name meaning one length) or fixed lengths."""
    check_list(f"{what}: dims", dims, (str, int), MAX_DIMS)
    for dim in dims:
        named = isinstance(dim, str) and len(dim) <= MAX_NAME and dim.isidentifier()
        if not named and (isinstance(dim, (str, bool)) or not 0 < dim <= MAX_DIM):
            raise SpecError(f"{what}: dim {shown(dim)} is neither a name nor a positive length up to {MAX_DIM}")


def check_parameters(what: str, parameters: Any) -> None:
    """Facts for clients. A server's configuration carries them on, so none may have a name that a backend obeys."""
    if not isinstance(parameters, dict):
        raise SpecError(f"{what}: parameters are {shown(parameters)}, expected texts by name")
    if len(parameters) > MAX_PARAMETERS:
        raise SpecError(f"{what}: there are {len(parameters)} parameters, at most {MAX_PARAMETERS} are read")
    for name, value in parameters.items():
        fact = isinstance(name, str) and len(name) <= MAX_NAME and PARAMETER_NAME.fullmatch(name)
        if not fact or BACKENDS_WORDS.fullmatch(name.partition("_")[0]):
            raise SpecError(
                f"{what}: parameter {shown(name)} is no fact for clients (snake_case, and not a word that a server's "
                "backend obeys): what a backend is to do stands in a config.pbtxt, never in a model file"
            )
        check_text(f"{what}: parameter {name!r}", value, MAX_PARAMETER)


def check_depth(value: Any) -> None:
    """JSON that is nested no deeper than all can handle that read it."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    raise SpecError(f"the model's specification is nested more than {MAX_DEPTH} levels deep")


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, (list, tuple)):
        yield from value


def shown(value: Any) -> str:
    """A value as an error can show it: on one line, and short."""
    if isinstance(value, int) and abs(value) >= 10**40:
        return "a number of more than 40 digits"
    text = ascii(value) if isinstance(value, (str, int, float, type(None))) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
