"""Finds the libpython that PyTriton's model processes need."""

from __future__ import annotations

import platform
import subprocess
import sys
import sysconfig
from pathlib import Path


def find_libpython() -> Path:
    """The shared library of the very interpreter that runs this.

    PyTriton's stub is linked to libpython; with that of another patch release it starts, and fails far from the cause.

    Raises:
        FileNotFoundError: there is none, or only that of another release.
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
    raise FileNotFoundError(
        f"PyTriton needs {name} of Python {platform.python_version()}, which is not installed{found}: on Debian and "
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
