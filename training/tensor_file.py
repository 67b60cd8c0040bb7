"""Opens what `torch.save` wrote, from anywhere: a file of tensors and plain values is read, any other is refused.

Such a file is a program for Python's unpickler. Only the part of it that makes tensors and plain values is carried out.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from neurips16.training.errors import CheckpointError


def read_tensor_file(path: str | Path) -> Any:
    """The content of a file, on the CPU, opened without running any code that it may hold.

    Raises:
        CheckpointError: it is missing, damaged, or holds anything but tensors and plain values.
    """
    _check_archive(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} cannot be read: it does not exist") from error
    except pickle.UnpicklingError as error:  # whose text is long, and advises to open the file all the same
        raise CheckpointError(
            f"{path} cannot be read as tensors and plain values: it holds other objects, and to make those could run "
            "code; let its author save the state dict alone"
        ) from error
    except Exception as error:  # torch raises RuntimeError, EOFError, KeyError, … for a file of another kind
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} cannot be read as tensors and plain values: {reason}") from error


def _check_archive(path: str | Path) -> None:
    """See that nothing in a file is compressed: torch would unpack it, and `torch.save` packs nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):  # of an older format, or not there
        return
    if packed:
        raise CheckpointError(f"{path} holds {packed[0]!r} compressed, which `torch.save` never does: save it again")
