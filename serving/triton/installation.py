"""Finds what a server is made of: the Triton binary of the wheel nvidia-pytriton, libpython, our op library.

Only files are looked for. The Python API of that wheel is never imported: it starts threads and patches logging.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import platform
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from neurips16.serving.errors import MissingLibraryError, MissingTritonError, UnfitEnvironmentError, WrongNumpyError

logger = logging.getLogger("neurips16.serving.triton.installation")

DISTRIBUTION = "nvidia-pytriton"
OPS_LIBRARY = "libneurips16_ops.so"
OPS_LIBRARY_VARIABLE = "NEURIPS16_OPS_LIBRARY"
STUB = "triton_python_backend_stub"


@dataclass(frozen=True)
class TritonBinary:
    """The parts of the installed wheel.

    Attributes:
        executable: the server.
        libraries: the folder of the shared libraries that the wheel carries.
        python_backend: the folder of the Python backend's library and its Python helper.
        stub: the process that hosts one model instance, built for this interpreter's minor release.
        distribution_version: the wheel's version (the server tells its own over gRPC).
    """

    executable: Path
    libraries: Path
    python_backend: Path
    stub: Path
    distribution_version: str


def find_triton() -> TritonBinary:
    """Locate the Triton binary of nvidia-pytriton.

    Raises:
        MissingTritonError: the wheel is not installed here, lacks a part, or carries none for this Python.
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
    root = package / "tritonserver"
    stubs = root / "python_backend_stubs"
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    binary = TritonBinary(
        executable=root / "bin" / "tritonserver",
        libraries=package.parent / "nvidia_pytriton.libs",
        python_backend=root / "backends" / "python",
        stub=stubs / minor / STUB,
        distribution_version=importlib.metadata.version(DISTRIBUTION),
    )
    if not binary.stub.is_file() and stubs.is_dir():
        offered = ", ".join(sorted((p.name for p in stubs.iterdir()), key=lambda v: int(v.partition(".")[2])))
        raise MissingTritonError(
            f"{DISTRIBUTION} {binary.distribution_version} cannot host models in Python {minor}, only in {offered}: "
            "make an environment of one of these"
        )
    for part in (binary.executable, binary.libraries, binary.python_backend / "libtriton_python.so", binary.stub):
        if not part.exists():
            raise MissingTritonError(
                f"{DISTRIBUTION} {binary.distribution_version} lacks {part}: "
                f"pip install --force-reinstall --no-deps {DISTRIBUTION}=={binary.distribution_version}"
            )
    return binary


def find_libpython() -> Path:
    """The shared library of the very interpreter that runs this.

    The stub is linked to libpython; with that of another patch release it starts, and fails far from the cause.

    Raises:
        MissingLibraryError: there is none, or only that of another release.
    """
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}{sys.abiflags}.so.1.0"
    loaded = _loaded_library(name)
    if loaded is not None:
        return loaded
    library_dir = Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib")
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    wrong: list[str] = []
    for folder in (library_dir / multiarch, library_dir, Path(sys.base_prefix) / "lib", Path("/usr/lib") / multiarch):
        candidate = folder / name
        if candidate.is_file():
            release = _release_of(candidate)
            if release == platform.python_version():
                return candidate
            wrong.append(f"{candidate} is of {release}")
    found = f" ({'; '.join(dict.fromkeys(wrong))})" if wrong else ""
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    raise MissingLibraryError(
        f"Triton needs {name} of Python {platform.python_version()}, which is not installed{found}: on Debian and "
        f"Ubuntu `apt install libpython{minor}`, elsewhere use a Python built with --enable-shared"
    )


def _loaded_library(name: str) -> Path | None:
    with open("/proc/self/maps") as maps:
        for line in maps:
            path = line.rstrip("\n").partition("/")[2]
            if path.endswith(f"/{name}"):
                return Path("/" + path)
    return None


def _release_of(libpython: Path) -> str:
    """The release a libpython is of, asked in a process of its own: two libpythons in one process do not get on."""
    code = (
        "import ctypes, sys; library = ctypes.CDLL(sys.argv[1]); "
        "library.Py_GetVersion.restype = ctypes.c_char_p; print(library.Py_GetVersion().decode().split()[0])"
    )
    asked = subprocess.run([sys.executable, "-c", code, str(libpython)], capture_output=True, text=True, timeout=30)
    return asked.stdout.strip() or "an unknown release"


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
    # The parent namespace only: its search path is enough, and the export room is not imported. An editable
    # installation has two places, the checkout and the build's.
    namespace = importlib.util.find_spec("neurips16")
    places = list(namespace.submodule_search_locations or []) if namespace else []
    export = importlib.util.find_spec("neurips16.export")
    roots = [Path(place) / "export" for place in places]
    roots += [Path(place) for place in (export.submodule_search_locations or [])] if export else []
    for root in roots:
        path = root / "ops" / OPS_LIBRARY
        if path.is_file():
            return path
    return None


def check_packages() -> None:
    """Refuse an environment in which the model processes could not work.

    Raises:
        UnfitEnvironmentError: NumPy or ONNX Runtime is missing.
        WrongNumpyError: NumPy 2 is installed.
    """
    for package in ("numpy", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise UnfitEnvironmentError(f"{package} is not installed in {sys.prefix}: pip install 'neurips16[serving]'")
    version = importlib.metadata.version("numpy")
    if int(version.split(".")[0]) >= 2:
        raise WrongNumpyError(
            f"NumPy {version} is installed, but this Triton's Python backend needs NumPy 1 (under NumPy 2 it hands "
            "out empty arrays without an error): pip install 'numpy<2'"
        )


def gpu_usable() -> bool:
    """Whether there is a GPU here and an ONNX Runtime that can use it; one without the other is said in the log."""
    if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg")):
        return False
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return True
    logger.warning(
        "there is a GPU, but onnxruntime %s is built for the CPU: models run on the CPU; to use the GPU, "
        "pip uninstall onnxruntime && pip install 'neurips16[serving-gpu]'",
        onnxruntime.__version__,
    )
    return False


def package_folders() -> list[Path]:
    """The folders that hold NumPy and ONNX Runtime: all that the model processes may import from."""
    folders = []
    for package in ("numpy", "onnxruntime"):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin:
            folders.append(Path(spec.origin).parent.parent)
    return list(dict.fromkeys(folders))
