"""The folder of one running server, and the environment of its process.

<temporary>/neurips16-serve-XXXXXXXX/
    admin-token             readable by its owner only, as the folder is
    client-ca.pem           what the server trusts, where clients must show certificates
    in-flight               what runs at this moment: read after a crash
    loaded/                 what the server has loaded, with the configurations and files that an admin sent
    quarantined.json        the models that a server that starts is not to load, and why
    lock                    held by the process that made the folder: one that nobody holds is left over

Nothing in it outlives the server.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path

from neurips16.serving.errors import ServerFailedError
from neurips16.serving.triton.admin_token import VARIABLE
from neurips16.serving.triton.in_flight import FILE_BYTES

PREFIX = "neurips16-serve-"
RUN_NAME = re.compile(rf"{PREFIX}[0-9a-f]{{12}}")


class RunFolder:
    """A server's own folder, from `create` to `remove`."""

    def __init__(self, folder: Path, lock: int):
        self.folder = folder
        self._lock = lock

    @classmethod
    def create(cls) -> RunFolder:
        """Make a fresh folder; those that ended servers left behind are removed first.

        Raises:
            ServerFailedError: the folder could not be written.
        """
        sweep()
        name = f"{PREFIX}{uuid.uuid4().hex[:12]}"
        hidden, folder = Path(tempfile.gettempdir()) / f".{name}", Path(tempfile.gettempdir()) / name
        try:
            hidden.mkdir(mode=0o700)
            lock = os.open(hidden / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(folder)  # only now: another server's sweep must never see it unlocked
            made = cls(folder, lock)
            made.renew()
        except OSError as error:
            raise ServerFailedError(
                f"cannot make a folder in {tempfile.gettempdir()}: {error.strerror or error}; set TMPDIR to another"
            ) from error
        return made

    @property
    def in_flight(self) -> Path:
        """The file in which the backend says what runs."""
        return self.folder / "in-flight"

    @property
    def loaded(self) -> Path:
        """The folder in which the backend says what is loaded."""
        return self.folder / "loaded"

    @property
    def quarantined(self) -> Path:
        """The file in which the backend reads which models it has to refuse."""
        return self.folder / "quarantined.json"

    def renew(self) -> None:
        """Empty what the backend writes, for a server that is about to start."""
        shutil.rmtree(self.loaded, ignore_errors=True)
        self.loaded.mkdir()
        # A new file: a process that is not quite dead may still have the old one.
        self.in_flight.unlink(missing_ok=True)
        with open(self.in_flight, "wb") as file:
            file.truncate(FILE_BYTES)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.close(self._lock)


def server_environment(library_folders: Iterable[Path]) -> dict[str, str]:
    """The environment variables of the server: ours, with ``library_folders`` before others on the loader's path."""
    # ONNX Runtime would take session settings from model files.
    unwanted = {VARIABLE, "ORT_LOAD_CONFIG_FROM_MODEL"}
    variables = {name: value for name, value in os.environ.items() if name not in unwanted}
    paths = [*map(str, library_folders), *filter(None, [variables.get("LD_LIBRARY_PATH")])]
    variables["LD_LIBRARY_PATH"] = os.pathsep.join(paths)
    # Otherwise each of the server's many threads keeps a heap of its own, and what was freed with it.
    variables.setdefault("MALLOC_ARENA_MAX", "2")
    # From 1.32 on, ONNX Runtime would keep a file of events in the home folder, and send them to its makers.
    variables.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return variables


def sweep() -> None:
    """Remove what servers left behind whose process was killed and could not clean up itself."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        lock = _abandoned(folder)
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _abandoned(folder: Path) -> int | None:
    """The lock of a run folder that no server holds, now held by us; None of any other.

    Everybody may lay folders, and links, into the temporary folder under any name.
    """
    try:
        status = folder.lstat()
        ours = status.st_uid == os.geteuid() and stat.S_ISDIR(status.st_mode)
        if not RUN_NAME.fullmatch(folder.name) or not ours:
            return None
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # being made or removed at this moment
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # its server runs
        os.close(lock)
        return None
    return lock
