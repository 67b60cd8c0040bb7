"""The folder that one running server is assembled in: its backends, and the environment of its model processes.

    <temporary>/neurips16-serve-XXXXXXXX/
        admin-token             readable by its owner only, as the folder is
        client-ca.pem           what the server trusts, where clients must show certificates
        lock                    held by the process that made the folder: one that nobody holds is left over
        lib/                    libpython of this interpreter and, when built, our op library: the loader path
        env/                    a minimal virtual environment: the stub takes its Python from `python3` on PATH
        backends/python/        copies of the wheel's Python backend, with the stub beside its library
        backends/onnxruntime/   our Python-based backend

The stub ignores PYTHONPATH and PYTHONHOME (it runs Python isolated), so ``env`` is what decides the modules it finds:
NumPy and ONNX Runtime from where this process has them, whatever environment the user's PATH leads to.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import re
import shutil
import stat
import sys
import tempfile
import uuid
from pathlib import Path

from neurips16.serving.errors import ServerFailedError
from neurips16.serving.triton.admin_token import VARIABLE
from neurips16.serving.triton.installation import (
    OPS_LIBRARY,
    TritonBinary,
    find_libpython,
    find_ops_library,
    package_folders,
)

PREFIX = "neurips16-serve-"
RUN_NAME = re.compile(rf"{PREFIX}[0-9a-f]{{12}}")
SHARED_MEMORY = Path("/dev/shm")  # nosec B108: the kernel's name for it; what is made there has random names
BACKEND_SOURCES = Path(__file__).parents[1] / "backends"


class Runtime:
    """A server's own folder, from `create` to `remove`."""

    def __init__(self, folder: Path, lock: int, binary: TritonBinary):
        self.folder = folder
        self._lock = lock
        self._binary = binary

    @classmethod
    def create(cls, binary: TritonBinary) -> Runtime:
        """Assemble a fresh folder; those that ended servers left behind are removed first.

        Raises:
            MissingLibraryError: libpython was not found.
            ServerFailedError: the folder could not be written.
        """
        libpython, ops_library = find_libpython(), find_ops_library()
        sweep()
        name = f"{PREFIX}{uuid.uuid4().hex[:12]}"
        hidden, folder = Path(tempfile.gettempdir()) / f".{name}", Path(tempfile.gettempdir()) / name
        hidden.mkdir(mode=0o700)
        lock = os.open(hidden / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        hidden.rename(folder)  # only now: another server's sweep must never see it unlocked
        runtime = cls(folder, lock, binary)
        try:
            runtime._link_libraries(libpython, ops_library)
            runtime._make_environment()
            runtime._copy_backends()
        except OSError as error:
            runtime.remove()
            raise ServerFailedError(f"cannot assemble the server in {tempfile.gettempdir()}: {error}") from error
        return runtime

    @property
    def backends(self) -> Path:
        """What the server is given as its backend directory."""
        return self.folder / "backends"

    @property
    def shared_memory_prefix(self) -> str:
        """How the names of this server's regions in /dev/shm begin."""
        return f"{self.folder.name}-"

    def shared_memory_regions(self) -> list[Path]:
        """This server's regions in /dev/shm."""
        return _ours(SHARED_MEMORY, self.shared_memory_prefix)

    def environment(self) -> dict[str, str]:
        """The environment variables of the server and, through it, of its model processes."""
        variables = {name: value for name, value in os.environ.items() if name != VARIABLE}
        paths = {
            "PATH": [str(self.folder / "env" / "bin")],
            "LD_LIBRARY_PATH": [str(self.folder / "lib"), str(self._binary.libraries)],
        }
        for name, first in paths.items():
            variables[name] = os.pathsep.join([*first, *filter(None, [variables.get(name)])])
        return variables

    def leftovers(self) -> list[str]:
        """What `remove` removes, as patterns."""
        return [str(SHARED_MEMORY / f"{self.shared_memory_prefix}*"), glob.escape(str(self.folder))]

    def remove(self) -> None:
        """Remove the folder, and what the server may have left in /dev/shm."""
        for region in self.shared_memory_regions():
            region.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    def _link_libraries(self, libpython: Path, ops_library: Path | None) -> None:
        lib = self.folder / "lib"
        lib.mkdir()
        # Links, so that nothing else that lies beside these libraries gets ahead of the system's.
        (lib / libpython.name).symlink_to(libpython)
        if ops_library is not None:
            (lib / OPS_LIBRARY).symlink_to(ops_library)

    def _make_environment(self) -> None:
        env = self.folder / "env"
        packages = env / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        packages.mkdir(parents=True)
        (env / "bin").mkdir()
        base = Path(getattr(sys, "_base_executable", None) or sys.executable)
        (env / "bin" / "python3").symlink_to(base)
        (env / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
        (packages / "serving.pth").write_text("".join(f"{folder}\n" for folder in package_folders()))

    def _copy_backends(self) -> None:
        # Copies, not links: the server resolves links and then misses the stub beside the library.
        python = self.backends / "python"
        shutil.copytree(self._binary.python_backend, python, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy2(self._binary.stub, python)
        shutil.copytree(BACKEND_SOURCES, self.backends, ignore=shutil.ignore_patterns("__*"), dirs_exist_ok=True)


def sweep() -> None:
    """Remove what servers left behind whose process was killed and could not clean up itself."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        lock = _abandoned(folder)
        if lock is None:
            continue
        for region in _ours(SHARED_MEMORY, f"{folder.name}-"):
            region.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _abandoned(folder: Path) -> int | None:
    """The lock of a run folder that no server holds, now held by us; None of any other.

    Everybody may lay folders, and links, into the temporary folder under any name.
    """
    if not RUN_NAME.fullmatch(folder.name) or not _is_ours(folder.lstat()) or not stat.S_ISDIR(folder.lstat().st_mode):
        return None
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # being made or removed at this moment
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # its server runs
        os.close(lock)
        return None
    return lock


def _ours(folder: Path, prefix: str) -> list[Path]:
    """This user's files, links not followed, whose names begin with ``prefix``."""
    found = []
    for path in folder.glob(f"{glob.escape(prefix)}*"):
        with contextlib.suppress(FileNotFoundError):
            if _is_ours(path.lstat()):
                found.append(path)
    return found


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid()
