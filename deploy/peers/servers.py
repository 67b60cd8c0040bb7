"""The servers that are compared: how each is installed, started and asked, and what settings it has to choose from."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import venv
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from libpython import find_libpython
from protocols import V2, BytesOverV2, Client, RawHttp
from subjects import Subject

from neurips16.export.ops import library_path
from neurips16.serving.triton.address import claim_ports
from neurips16.serving.triton.installation import find_preload
from neurips16.serving.triton.process import ServerProcess

PROGRAMS = Path(__file__).parent / "programs"
REQUIREMENTS = Path(__file__).parent / "requirements"
DELAY_S = 0.0005  # how long a request may wait for others: what `neurips16 serve` writes into our configuration
STOP_S = 20.0
LOG_LINES = 30
SERVICES = ("gRPC", "HTTP", "metrics")


class PeerError(Exception):
    """A peer cannot be compared: it does not install, does not start, or answers wrongly. The others can."""


@dataclass(frozen=True)
class Setting:
    """One of the ways to run a peer."""

    label: str
    batching: bool
    sessions: int = 1  # that run at the same time, with the threads shared among them
    choice: Mapping[str, Any] = field(default_factory=dict)  # what else its program is told


@dataclass(frozen=True, eq=False)  # told apart by identity
class Peer:
    """One server.

    Attributes:
        name: as its project writes it.
        requirements: of `REQUIREMENTS`, what pip installs for it, all by exact version; None where this environment
            has it already.
        program: what it runs, of `PROGRAMS`; None for ours.
        protocol: makes the client, of a port and a subject.
        settings: of which the fastest is timed.
        restless: it takes a good part of a core while it has nothing to do, so it is suspended while others are timed.
    """

    name: str
    requirements: str | None
    program: str | None
    protocol: Callable[[int, Subject], Client]
    settings: tuple[Setting, ...]
    restless: bool = False

    @property
    def key(self) -> str:
        """The name of its folder, and what chooses it on the command line."""
        return self.name.lower()


OURS = Peer("neurips16", None, None, V2, (Setting("as `neurips16 serve` starts it", True),))


def ways(**choices: tuple[int, Mapping[str, Any]]) -> tuple[Setting, ...]:
    """Settings with batching and without, for each name a number of sessions and what else the program is told."""
    return tuple(
        Setting(f"{label}, {name.replace('_', ' ')}", batching, sessions, choice)
        for label, batching in (("batching", True), ("no batching", False))
        for name, (sessions, choice) in choices.items()
    )


PEERS = (
    OURS,
    Peer("PyTriton", None, "pytriton_program.py", V2, ways(one_session=(1, {}), two_sessions=(2, {}))),
    Peer(
        "LitServe",
        "litserve.txt",
        "litserve_program.py",
        lambda port, subject: RawHttp(port, subject, "/predict"),
        ways(
            fast_queue=(1, {"fast_queue": True}),
            usual_queue=(1, {"fast_queue": False}),
            two_workers=(2, {"fast_queue": True}),
        ),
        restless=True,  # its worker asks its queue a thousand times a second
    ),
    Peer(
        "BentoML",
        "bentoml.txt",
        "bentoml_program.py",
        lambda port, subject: RawHttp(port, subject, "/infer"),
        ways(one_worker=(1, {}), two_workers=(2, {})),
    ),
    Peer(
        "MLServer",
        "mlserver.txt",
        "mlserver_program.py",
        BytesOverV2,
        ways(
            no_worker=(1, {"parallel_workers": 0}),
            one_worker=(1, {"parallel_workers": 1}),
            two_workers=(2, {"parallel_workers": 2}),
        ),
    ),
)


def install(peer: Peer, environments: Path) -> Path:
    """The Python that runs a peer; its environment is made where it is not there in these versions.

    Raises:
        PeerError: pip does not install it; the text is pip's.
    """
    if peer.requirements is None:
        return Path(sys.executable)
    wanted = REQUIREMENTS / peer.requirements
    folder = environments / peer.key
    python, stamp = folder / "bin/python", folder / "installed.txt"
    if stamp.is_file() and stamp.read_bytes() == wanted.read_bytes():
        return python
    venv.create(folder, clear=True, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    run = subprocess.run([*pip, "install", "--quiet", "--requirement", str(wanted)], capture_output=True, text=True)
    if run.returncode:
        errors = [line for line in run.stderr.splitlines() if line.startswith("ERROR")]
        raise PeerError(f"pip does not install it: {(errors or [run.stderr.strip()])[-1].removeprefix('ERROR: ')}")
    stamp.write_bytes(wanted.read_bytes())
    return python


class Server:
    """A peer that runs one model, from `start` to `stop`."""

    def __init__(self, peer: Peer, setting: Setting, subject: Subject, python: Path):
        self.peer, self.setting = peer, setting
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        ports = claim_ports(dict.fromkeys(SERVICES, "127.0.0.1"), dict.fromkeys(SERVICES, 0))
        self.ports = [port for port in ports.values() if port]
        self._process = ServerProcess(
            self._command(subject, python), self._environment(subject, python), find_preload(), STOP_S, self._log.append
        )

    def _setup(self, subject: Subject) -> dict[str, Any]:
        library = library_path()
        return {
            "model": str(subject.path),
            "name": subject.name,
            "input": subject.input_name,
            "outputs": subject.output_names,
            "shape": subject.array.shape,
            "dtype": str(subject.array.dtype),
            "threads": max(1, subject.threads // self.setting.sessions),
            "sessions": self.setting.sessions,
            "op_library": str(library) if library else None,
            "max_batch": max(1, subject.spec.max_batch_size) if self.setting.batching else 1,
            "delay_s": DELAY_S,
            "ports": self.ports,
            "choice": dict(self.setting.choice),
        }

    def _environment(self, subject: Subject, python: Path) -> dict[str, str]:
        if self.peer.program is None:
            return dict(os.environ)
        environment = {**os.environ, "PEERS_SETUP": json.dumps(self._setup(subject)), "PYTHONPATH": str(PROGRAMS)}
        environment["PATH"] = os.pathsep.join([str(python.parent), os.environ.get("PATH", "")])
        environment["BENTOML_DO_NOT_TRACK"] = "True"
        # PyTriton's stub takes the loader's libpython, and fails where that is of another patch release.
        paths = [str(find_libpython().parent), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        return {**environment, "LD_LIBRARY_PATH": os.pathsep.join(paths)}

    def _command(self, subject: Subject, python: Path) -> list[str]:
        grpc, http, metrics = map(str, self.ports)
        if self.peer.program is None:
            command = [str(python.parent / "neurips16"), "serve", str(subject.repository), "--model", subject.name]
            return [*command, "--grpc-port", grpc, "--http-port", http, "--metrics-port", metrics]
        if self.peer.program == "bentoml_program.py":
            service = ["bentoml_program:Peer", "--working-dir", str(PROGRAMS), "--host", "127.0.0.1", "--port", grpc]
            return [str(python), "-m", "bentoml", "serve", *service]
        return [str(python), str(PROGRAMS / self.peer.program)]

    def start(self) -> None:
        """Start it; when it answers, it is ready."""
        self._process.start()

    def stop(self) -> None:
        """End it and all that it started."""
        self.resume()
        self._process.stop()

    def suspend(self) -> None:
        """Let it rest, where it does not do so by itself."""
        if self.peer.restless:
            for process in self._processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.suspend()

    def resume(self) -> None:
        """Let it go on."""
        if self.peer.restless:
            for process in self._processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    def client(self, subject: Subject) -> Client:
        """A client of it; to be made in the event loop that uses it."""
        return self.peer.protocol(self.ports[0], subject)

    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process.poll() is not None

    def last_words(self) -> str:
        """The end of what it has said."""
        return "\n".join(self._log)

    def cpu_seconds(self) -> float:
        """The time of all cores that its processes have used so far."""
        total = 0.0
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def _processes(self) -> list[psutil.Process]:
        try:
            root = psutil.Process(self._process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:  # it has ended
            return []
