"""Finds what a server is made of: the Triton binary of the wheel nvidia-pytriton, ONNX Runtime, our own libraries.

Only files are looked for. The Python API of that wheel is never imported: it starts threads and patches logging.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from neurips16.serving.errors import (
    MissingBackendError,
    MissingLibraryError,
    MissingTritonError,
    UnfitEnvironmentError,
)

logger = logging.getLogger("neurips16.serving.triton.installation")

DISTRIBUTION = "nvidia-pytriton"
OPS_LIBRARY = "libneurips16_ops.so"
OPS_LIBRARY_VARIABLE = "NEURIPS16_OPS_LIBRARY"
BACKEND_LIBRARY = "libtriton_onnxruntime.so"
BACKEND_VARIABLE = "NEURIPS16_BACKEND_LIBRARY"  # another build of the backend, such as one with sanitizers
PRELOAD_LIBRARY = "libneurips16_preload.so"
OLDEST_ONNXRUNTIME = (1, 21)  # the first whose wheel carries the library by itself


@dataclass(frozen=True)
class TritonBinary:
    """The parts of the installed wheel.

    Attributes:
        executable: the server.
        libraries: the folder of the shared libraries that the wheel carries.
        distribution_version: the wheel's version (the server tells its own over gRPC).
    """

    executable: Path
    libraries: Path
    distribution_version: str


def find_triton() -> TritonBinary:
    """Locate the Triton binary of nvidia-pytriton.

    Raises:
        MissingTritonError: the wheel is not installed here, or lacks a part.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise MissingTritonError(
            f"the Triton binary from pip runs on Linux x86_64 only, this is {sys.platform} {platform.machine()}: "
            "serve the same model repository with NVIDIA's Triton container"
        )
    spec = importlib.util.find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        raise MissingTritonError(f"{DISTRIBUTION} is not installed in {sys.prefix}: pip install 'neurips16[serving]'")
    package = Path(spec.submodule_search_locations[0])
    binary = TritonBinary(
        executable=package / "tritonserver" / "bin" / "tritonserver",
        libraries=package.parent / "nvidia_pytriton.libs",
        distribution_version=importlib.metadata.version(DISTRIBUTION),
    )
    for part in (binary.executable, binary.libraries):
        if not part.exists():
            raise MissingTritonError(
                f"{DISTRIBUTION} {binary.distribution_version} lacks {part}: "
                f"pip install --force-reinstall --no-deps {DISTRIBUTION}=={binary.distribution_version}"
            )
    return binary


def find_onnxruntime() -> Path:
    """The shared library of this environment's ONNX Runtime, which our backend opens.

    Raises:
        UnfitEnvironmentError: there is no ONNX Runtime here, or one that is too old to carry it.
    """
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        raise UnfitEnvironmentError(f"onnxruntime is not installed in {sys.prefix}: pip install 'neurips16[serving]'")
    folder = Path(spec.origin).parent / "capi"
    for path in sorted(folder.glob("libonnxruntime.so*")):
        release = re.fullmatch(r"libonnxruntime\.so\.(\d+)\.(\d+)\..+", path.name)
        if release is None or (int(release[1]), int(release[2])) >= OLDEST_ONNXRUNTIME:
            return path
    oldest = ".".join(map(str, OLDEST_ONNXRUNTIME))
    raise UnfitEnvironmentError(
        f"the onnxruntime in {folder.parent} carries no libonnxruntime.so of {oldest} or later: "
        f"pip install --upgrade 'onnxruntime>={oldest}'"
    )


def find_backend() -> Path:
    """Our backend's library: what ``NEURIPS16_BACKEND_LIBRARY`` names, else where the build installs it.

    Raises:
        MissingBackendError: it was not built, or the variable names a file that does not exist.
    """
    named = os.environ.get(BACKEND_VARIABLE)
    if named:
        path = Path(named).expanduser().absolute()
        if path.is_file() and path.name == BACKEND_LIBRARY and path.parent.name == "onnxruntime":
            return path
        raise MissingBackendError(f"{BACKEND_VARIABLE} names {path}, expected a file onnxruntime/{BACKEND_LIBRARY}")
    return _built("serving/backends/onnxruntime", BACKEND_LIBRARY)


def find_preload() -> Path:
    """The library that the server is started with.

    Raises:
        MissingBackendError: it was not built.
    """
    return _built("serving/triton", PRELOAD_LIBRARY)


def find_ops_library() -> Path | None:
    """Our custom-op library: what ``NEURIPS16_OPS_LIBRARY`` names, else where the build installs it, else None.

    Raises:
        MissingLibraryError: the variable names a file that does not exist.
    """
    named = os.environ.get(OPS_LIBRARY_VARIABLE)
    if named:
        path = Path(named).expanduser().resolve()
        if not path.is_file():
            raise MissingLibraryError(f"{OPS_LIBRARY_VARIABLE} names {path}, which is no file: correct it or unset it")
        return path
    return _find("export/ops", OPS_LIBRARY)


def gpu_usable() -> bool:
    """Whether there is a GPU here and an ONNX Runtime that can use it; one without the other is said in the log."""
    if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg")):
        return False
    library = find_onnxruntime()
    if (library.parent / "libonnxruntime_providers_cuda.so").is_file():
        return True
    logger.warning(
        "there is a GPU, but the onnxruntime in %s is built for the CPU: models run on the CPU; to use the GPU, "
        "pip uninstall onnxruntime && pip install 'neurips16[serving-gpu]'",
        library.parent.parent,
    )
    return False


def cuda_folders() -> list[Path]:
    """Where pip's packages keep the CUDA libraries that ONNX Runtime needs: they are on no loader path."""
    spec = importlib.util.find_spec("nvidia")
    places = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    return sorted(folder for place in places for folder in place.glob("*/lib") if folder.is_dir())


def _built(folder: str, name: str) -> Path:
    path = _find(folder, name)
    if path is None:
        raise MissingBackendError(
            f"{name} is not built in {sys.prefix}: install a wheel of neurips16 that carries it, or a C++20 compiler "
            "and the ONNX Runtime headers (deploy/onnxruntime_headers.sh), then NEURIPS16_NATIVE=ON pip install ."
        )
    return path


def _find(folder: str, name: str) -> Path | None:
    # The parent namespace only: its search path is enough, and no other package is imported. An editable install has
    # two places, the checkout and the build's.
    namespace = importlib.util.find_spec("neurips16")
    roots = [Path(place) / folder for place in (namespace.submodule_search_locations or [])] if namespace else []
    package = importlib.util.find_spec(f"neurips16.{folder.partition('/')[0]}")
    inner = folder.partition("/")[2]
    roots += [Path(place) / inner for place in (package.submodule_search_locations or [])] if package else []
    return next((root / name for root in roots if (root / name).is_file()), None)
