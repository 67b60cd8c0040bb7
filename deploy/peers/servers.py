"""The servers that are compared: how each is installed, started and asked, and what settings it has to choose from."""

from __future__ import annotations

import dataclasses
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

import onnxruntime
import psutil
from protocols import V2, BytesOverV2, Client, RawHttp
from subjects import Subject

from neurips16.export.ops import library_path
from neurips16.serving.address import claim_ports
from neurips16.serving.binary import find_libpython
from neurips16.serving.process import ServerProcess

PROGRAMS = Path(__file__).parent / "programs"
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
    choice: Mapping[str, Any] = field(default_factory=dict)  # what else its program is told


@dataclass(frozen=True, eq=False)  # told apart by identity
class Peer:
    """One server.

    Attributes:
        name: as its project writes it.
        packages: what pip installs for it, by exact version; none where this environment has it already.
        program: what it runs, of `PROGRAMS`; None for ours.
        protocol: makes the client, of a port and a subject.
        spoken: the protocol, for people.
        settings: of which the fastest is timed.
    """

    name: str
    packages: tuple[str, ...]
    program: str | None
    protocol: Callable[[int, Subject], Client]
    spoken: str
    settings: tuple[Setting, ...]

    @property
    def key(self) -> str:
        """The name of its folder, and what chooses it on the command line."""
        return self.name.lower()


OURS = Peer("neurips16", (), None, V2, "gRPC, raw tensors", (Setting("as `neurips16 serve` starts it", True),))
PLAIN, BATCHED = Setting("no batching", False), Setting("batching", True)
PEERS = (
    OURS,
    Peer("PyTriton", (), "pytriton_program.py", V2, "gRPC, raw tensors", (BATCHED, PLAIN)),
    Peer(
        "LitServe",
        ("litserve==0.2.19",),
        "litserve_program.py",
        lambda port, subject: RawHttp(port, subject, "/predict"),
        "HTTP, raw bytes",
        tuple(
            dataclasses.replace(setting, label=f"{setting.label}, {label}", choice={"fast_queue": fast})
            for setting in (BATCHED, PLAIN)
            for label, fast in (("fast queue", True), ("usual queue", False))
        ),
    ),
    Peer(
        "BentoML",
        ("bentoml==1.4.39",),
        "bentoml_program.py",
        lambda port, subject: RawHttp(port, subject, "/infer"),
        "HTTP, raw bytes",
        (
            dataclasses.replace(PLAIN, choice={"composed": False}),
            Setting("batching, in a service of its own", True, {"composed": True}),
        ),
    ),
    Peer(
        "MLServer",
        ("mlserver==1.7.1", "uvloop==0.21.0"),  # its workers do not start with a later uvloop,
        "mlserver_program.py",
        BytesOverV2,
        "gRPC, tensors as BYTES",
        tuple(
            dataclasses.replace(setting, label=f"{setting.label}, {label}", choice={"parallel_workers": workers})
            for setting in (BATCHED, PLAIN)
            for label, workers in (("one worker", 1), ("no worker", 0))
        ),
    ),
)


def install(peer: Peer, environments: Path) -> Path:
    """The Python that runs a peer; its environment is made where it is not there in these versions.

    Raises:
        PeerError: pip does not install it; the text is pip's.
    """
    if not peer.packages:
        return Path(sys.executable)
    folder = environments / peer.key
    python, stamp = folder / "bin/python", folder / "installed.txt"
    # The same runtime for all: it is servers that are compared.
    wanted = [*peer.packages, f"onnxruntime=={onnxruntime.__version__}"]
    if stamp.is_file() and stamp.read_text().split() == wanted:
        return python
    venv.create(folder, clear=True, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    run = subprocess.run([*pip, "install", "--quiet", *wanted], capture_output=True, text=True)
    if run.returncode:
        errors = [line for line in run.stderr.splitlines() if line.startswith("ERROR")]
        raise PeerError(f"pip does not install it: {(errors or [run.stderr.strip()])[-1].removeprefix('ERROR: ')}")
    stamp.write_text("\n".join(wanted) + "\n")
    return python


class Server:
    """A peer that runs one model, from `start` to `stop`."""

    def __init__(self, peer: Peer, setting: Setting, subject: Subject, python: Path):
        self.peer, self.setting = peer, setting
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        ports = claim_ports(dict.fromkeys(SERVICES, "127.0.0.1"), dict.fromkeys(SERVICES, 0))
        self.ports = [port for port in ports.values() if port]
        environment = {**os.environ, "PEERS_SETUP": json.dumps(self._setup(subject)), "DO_NOT_TRACK": "1"}
        # Found by trial: PyTriton's stub otherwise loads the system's libpython, of another patch release, and fails.
        paths = [str(find_libpython().parent), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        if peer.program == "pytriton_program.py":
            environment["LD_LIBRARY_PATH"] = os.pathsep.join(paths)
        environment["PATH"] = os.pathsep.join([str(python.parent), os.environ.get("PATH", "")])
        environment["PYTHONPATH"] = str(PROGRAMS)
        environment["BENTOML_DO_NOT_TRACK"] = "True"
        self._process = ServerProcess(self._command(subject, python), environment, [], STOP_S, self._log.append)

    def _setup(self, subject: Subject) -> dict[str, Any]:
        library = library_path()
        return {
            "model": str(subject.path),
            "name": subject.name,
            "input": subject.input_name,
            "outputs": subject.output_names,
            "shape": subject.array.shape,
            "dtype": str(subject.array.dtype),
            "threads": subject.threads,
            "op_library": str(library) if library else None,
            "max_batch": max(1, subject.spec.max_batch_size) if self.setting.batching else 1,
            "delay_s": DELAY_S,
            "ports": self.ports,
            "choice": dict(self.setting.choice),
        }

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
        self._process.stop()

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
        for process in (root := psutil.Process(self._process.pid), *root.children(recursive=True)):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:  # ended between our two looks
                continue
            total += times.user + times.system
        return total
