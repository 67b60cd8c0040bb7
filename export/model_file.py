"""A model file of any origin, opened: it may be read, and must not lead to anything else."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neurips16.export.errors import ExternalDataError, NotAnOnnxFileError, SpecError

MAX_BYTES = 2**31 - 1  # of a protobuf message
# ONNX Runtime takes this for "not in a file: at this address of my memory".
_MEMORY_ADDRESS = "_ORT_MEM_ADDR_"
_SESSION_OPTIONS = "ort_config"  # a key of metadata_props; ONNX Runtime may be told to obey it
_COMPILED = "EPContext"  # a node that holds, or names, a program of an execution provider


def open_model(path: str | Path) -> Any:
    """The ``onnx.ModelProto`` in a file of any origin, without the weights that it keeps in other files.

    Raises:
        SpecError: it is no ONNX file, or has more in it than a model.
        ExternalDataError: it keeps weights in what is not a file in its own folder, or below.
    """
    import onnx
    from google.protobuf.message import DecodeError

    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would never end, nor would a device
            raise SpecError(f"{path} is not an ONNX file: it is no regular file")
        if status.st_size > MAX_BYTES:
            raise SpecError(
                f"{path} is not an ONNX file: it has {status.st_size} bytes, at most {MAX_BYTES} fit in one"
            )
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise NotAnOnnxFileError(f"{path} is not an ONNX file: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}") from error
    if any(entry.key == _SESSION_OPTIONS for entry in model.metadata_props):
        raise SpecError(f"{path} carries session options ({_SESSION_OPTIONS!r} metadata): save it again without them")
    for message in _messages(model):
        if message.DESCRIPTOR.name == "NodeProto" and message.op_type == _COMPILED:
            raise SpecError(f"{path} has a node {_COMPILED!r}, which is a compiled program: give the model itself")
        if message.DESCRIPTOR.name == "TensorProto" and message.external_data:
            external = {entry.key: entry.value for entry in message.external_data}
            if len(external) < len(message.external_data):  # which of two counts, readers may see differently
                raise ExternalDataError(f"{path} says twice where it keeps the weights of {message.name[:200]!r}")
            _check_external(path, external)
    return model


def _check_external(path: Path, external: dict[str, str]) -> None:
    """Hold what a tensor says of its weights against the file that it names. ONNX Runtime looks, too, not all of it."""
    if any(not isinstance(part, str) for part in (*external, *external.values())):  # bytes that are no UTF-8
        raise ExternalDataError(f"{path} says in bytes that are no text where it keeps weights: save it again in one")
    location, folder = external.get("location", ""), path.parent.resolve()
    try:
        named = folder / location
        within = not Path(location).is_absolute() and named.resolve().is_relative_to(folder)
        size = named.stat().st_size if within and named.is_file() else None
    except (OSError, ValueError, RuntimeError):  # a loop of links, a name that is too long or none
        within, size = False, None
    if not within or _MEMORY_ADDRESS in location:
        raise ExternalDataError(
            f"{path} keeps weights in {location[:200]!r}, which leads out of its folder: a model reads from its own "
            "folder only; save it again in one file"
        )
    if size is None:
        raise ExternalDataError(f"{path} keeps weights in {location[:200]!r}, which is no file: save it again in one")
    numbers = [external.get(key) or "0" for key in ("offset", "length")]
    if any(not (number.isascii() and number.isdecimal() and len(number) < 20) for number in numbers) or (
        sum(map(int, numbers)) > size
    ):
        raise ExternalDataError(
            f"{path} keeps weights at offset {numbers[0][:40]!r} and length {numbers[1][:40]!r} of {location[:200]!r}, "
            f"which has {size} bytes: save it again in one file"
        )


def _messages(message: Any) -> Iterator[Any]:
    """A message and all within it, wherever they are: graphs, subgraphs, functions, attributes."""
    yield message
    for part, value in message.ListFields():
        if part.message_type is not None:
            for child in [value] if hasattr(value, "DESCRIPTOR") else value:
                yield from _messages(child)
