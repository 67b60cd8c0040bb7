"""A Triton server from pip, run on a model repository: started, watched, stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from neurips16.serving.errors import ModelFailedError, RepositoryError, ServerFailedError
from neurips16.serving.repository import CONFIG_FILE, read_config
from neurips16.serving.triton.address import accepts, claim_ports, reachable_host, settle_hosts
from neurips16.serving.triton.admin_token import check_token, make_token, restrictions, save_token
from neurips16.serving.triton.admission import admit
from neurips16.serving.triton.installation import check_packages, find_triton, gpu_usable
from neurips16.serving.triton.log import ServerLog
from neurips16.serving.triton.management_client import LOAD_S, ControlError, ModelState, ServerControl
from neurips16.serving.triton.memory_limit import limit_memory
from neurips16.serving.triton.process import ServerProcess
from neurips16.serving.triton.repository_poller import Fingerprint, RepositoryPoller
from neurips16.serving.triton.run_folder import Runtime
from neurips16.serving.triton.stub_watcher import StubWatcher
from neurips16.serving.triton.supervisor import STANDS_FOR

if TYPE_CHECKING:
    from neurips16.serving.triton.tls import ControlAccess, ServerTLS

logger = logging.getLogger("neurips16.serving.triton.server")

MODEL_CONTROLS = ("none", "explicit", "poll")
READY_TIMEOUT_S = 120.0
DRAIN_S = 10  # how long the server waits for the requests in hand when it is stopped
STOP_S = 30.0  # after this it is killed
POLL_S = 0.05


class TritonServer:
    """Triton on one or more model repositories; a context manager that is ready inside.

    Args:
        repository: a model repository, or several.
        host: the address to listen on.
        grpc_port: the port of the KServe v2 gRPC service; 0 takes a free one.
        http_port, metrics_port: likewise; None leaves that service out. HTTP is for who has the admin token, but for
            the health.
        http_host, metrics_host: the addresses of these services, which have no TLS. None is ``host`` where that is
            loopback, and leaves the service out where others reach it.
        tls: the certificates of the gRPC service.
        insecure_plaintext: let requests pass unencrypted beyond loopback.
        admin_token: what model control, shared memory, trace and log settings are kept for; a fresh one if None.
        models: the models to load; None loads all of the repository, or none with ``model_control="explicit"``.
        model_control: what becomes of the set of models later, in Triton's words. "none": nothing; "explicit": who has
            the admin token loads and unloads; "poll": models that are new or have changed in the repository are loaded
            by themselves.
        poll_s: how often "poll" looks.
        before_load: called with a model's folder before the model is loaded; a `RepositoryError` leaves it out.
        strict: whether a model that does not load at the start is an error; else the others are served without it.
        memory_limit: bytes that the server may take; None for as much as there is.
        verbose: the level of Triton's own verbose log.

    Raises:
        SecurityError: others would reach a service in plain text that were not let in so, or the token can be none.
    """

    def __init__(
        self,
        repository: Path | str | Sequence[Path | str],
        *,
        host: str = "127.0.0.1",
        grpc_port: int = 8001,
        http_port: int | None = None,
        metrics_port: int | None = 8002,
        http_host: str | None = None,
        metrics_host: str | None = None,
        tls: ServerTLS | None = None,
        insecure_plaintext: bool = False,
        admin_token: str | None = None,
        models: Sequence[str] | None = None,
        model_control: str = "none",
        poll_s: float = 2.0,
        before_load: Callable[[Path], object] | None = None,
        strict: bool = True,
        memory_limit: int | None = None,
        verbose: int = 0,
    ):
        if model_control not in MODEL_CONTROLS:
            raise ValueError(f"model_control is {model_control!r}: one of {', '.join(MODEL_CONTROLS)}")
        given = [repository] if isinstance(repository, (str, Path)) else list(repository)
        self.repositories = [Path(folder).resolve() for folder in given]
        self.hosts, self.ports = settle_hosts(
            host,
            {"gRPC": grpc_port, "HTTP": http_port, "metrics": metrics_port},
            http_host=http_host,
            metrics_host=metrics_host,
            tls=tls is not None,
            insecure_plaintext=insecure_plaintext,
        )
        self.admin_token = make_token() if admin_token is None else check_token(admin_token, "admin_token")
        self.admin_token_file: Path | None = None  # where it can be read while the server runs
        self._tls = tls
        self._models = [] if models is None and model_control == "explicit" else models
        self._model_control = model_control
        self._poll_s = poll_s
        self._before_load = before_load
        self._strict = strict
        self._memory_limit = memory_limit
        self._verbose = verbose
        self._wanted: set[str] | None = None  # the models that should be ready, once the start is over
        self._found: dict[Path, Fingerprint] = {}  # the models to load at the start, by folder
        self._gpu = False
        self._log = ServerLog()
        self._runtime: Runtime | None = None
        self._process: ServerProcess | None = None
        self._access: ControlAccess | None = None
        self._control: ServerControl | None = None
        self._watcher: StubWatcher | None = None
        self._poller: RepositoryPoller | None = None

    def __enter__(self) -> TritonServer:
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where clients reach the gRPC service, as HOST:PORT."""
        return self._address("gRPC")

    @property
    def http_url(self) -> str:
        """Where clients reach the HTTP service, as HOST:PORT."""
        return self._address("HTTP")

    @property
    def models(self) -> set[str]:
        """The models that this server should have ready."""
        return set(self._wanted or ())

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._started()[0].pid

    @property
    def restorations(self) -> int:
        """How often a model was brought back whose process had died."""
        return self._watcher.restorations if self._watcher else 0

    def start(self) -> None:
        """Start the server; `wait_ready` tells when it can be used.

        Raises:
            UnfitEnvironmentError: this environment cannot serve.
            RepositoryError: a repository is no folder, or holds no model.
            SecurityError: the certificates cannot be used.
            PortTakenError: another program listens on one of the ports.
            ServerFailedError: the binary could not be started.
        """
        if self._process is not None:
            raise RuntimeError("this server was started already: stop() it first")
        check_packages()
        binary = find_triton()
        for repository in self.repositories:
            check_repository(repository)
        for model in self._models or []:
            if not any((repository / model).is_dir() for repository in self.repositories):
                raise RepositoryError(f"there is no model {model!r} in {', '.join(map(str, self.repositories))}")
        if self._tls is not None:
            from neurips16.serving.triton.tls import ControlAccess

            self._access = ControlAccess(self._tls)
        self.ports = claim_ports(self.hosts, self.ports)
        self._found = admit(self.repositories, self._models, self._before_load)
        self._gpu = gpu_usable()
        self._runtime = Runtime.create(binary)
        self.admin_token_file = save_token(self.admin_token, self._runtime.folder)
        command = [str(binary.executable), *self._arguments(self._runtime)]
        environment = {**self._runtime.environment(), **restrictions(self.admin_token)}
        if not self._gpu:
            # KIND_AUTO then means the CPU, and KIND_GPU is refused, as on a machine without a GPU.
            environment["CUDA_VISIBLE_DEVICES"] = ""
            self._log.leave_out_gpu_chatter()
        self._process = ServerProcess(command, environment, self._runtime.leftovers(), STOP_S, self._log.feed)
        try:
            self._process.start()
        except OSError as error:
            self._process = None
            self.stop()
            raise ServerFailedError(f"{binary.executable} could not be started: {error}") from error
        if self._memory_limit is not None:
            limit_memory(self._process.pid, self._memory_limit)
        self._watcher = StubWatcher(self._process.pid, self.repositories, ControlError)
        self._watcher.start()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S, *, abandon: threading.Event | None = None) -> bool:
        """Wait until every model that was asked for is ready; False when ``abandon`` was set before.

        Raises:
            ServerFailedError: the server ended, or was not up within ``timeout_s``.
            ModelFailedError: it is up, but models did not load; the text has the reason of each.
        """
        process, watcher = self._started()
        deadline = time.monotonic() + timeout_s
        access = () if self._access is None else (self._access.credentials, self._access.server_name)
        control = ServerControl(self.url, self.admin_token, *access)
        self._control = control
        # The server opens its ports after the attempt to load all models, that of gRPC first.
        while not (
            control.live() and all(accepts(self.hosts[name], port) for name, port in self.ports.items() if port)
        ):
            if process.poll() is not None:
                raise ServerFailedError(
                    f"Triton ended with status {process.poll()} before it was ready{self._last_words()}"
                )
            if time.monotonic() > deadline:
                raise ServerFailedError(f"Triton was not ready after {timeout_s:g} s{self._last_words()}")
            if watcher.lost():
                raise ModelFailedError("; ".join(explain_loss(*lost) for lost in watcher.lost().items()))
            if abandon is not None and abandon.is_set():
                return False
            time.sleep(POLL_S)
        try:
            index = control.index()
        except ControlError as error:
            raise ServerFailedError(f"Triton runs, but does not say what it has loaded: {error}") from error
        wanted = {folder.name for folder in self._found}
        failed = [entry for entry in index if entry.model in wanted and not entry.ready]
        wanted -= {entry.model for entry in failed}
        if failed and (self._strict or not wanted):
            raise ModelFailedError("; ".join(explain(entry) for entry in failed))
        for entry in failed:
            logger.error("left out: %s", explain(entry))
        watcher.arm(control)
        self._wanted = wanted
        if self._model_control == "poll":
            self._poller = RepositoryPoller(
                self.repositories, self._models, self._found, control, wanted, self._before_load, self._poll_s
            )
            self._poller.start()
        return True

    def ready(self) -> bool:
        """Whether every model that was asked for can answer now. The server's own answer misses dead stubs."""
        if self._wanted is None or self._control is None or self._watcher is None:
            return False
        try:
            ready = {entry.model for entry in self._control.index() if entry.ready}
        except ControlError:
            return False
        return frozenset(self._wanted) <= ready and not self._watcher.broken()

    def failure(self) -> str | None:
        """Why this server has to be started anew, None while it need not be."""
        process, watcher = self._started()
        if process.poll() is not None:
            return f"Triton ended by itself with status {process.poll()}{self._last_words()}"
        lost = watcher.lost()
        return "; ".join(explain_loss(*model) for model in lost.items()) or None

    def version(self) -> str:
        """The version of the running server, as it says itself."""
        if self._control is None:
            raise RuntimeError("the server is not started: call start() and wait_ready() first")
        return self._control.server_version()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the server to end by itself; its exit status, None after ``timeout_s``."""
        return self._started()[0].wait(timeout_s)

    def stop(self) -> None:
        """Stop the server, in order where it can be, and remove all that it left. Does nothing when it is stopped."""
        if self._poller is not None:
            self._poller.stop()
        if self._watcher is not None:
            self._watcher.stop()
        if self._process is not None and not self._process.stop():
            logger.warning("Triton did not stop within %g s and was killed", STOP_S)
        if self._control is not None:
            self._control.close()
        if self._runtime is not None:
            self._runtime.remove()
        self._poller = self._watcher = self._process = self._control = self._runtime = self._wanted = None
        self.admin_token_file = self._access = None

    def kill(self) -> None:
        """End the server at once, with requests in hand; `stop` is still needed after it. Safe in a signal handler."""
        if self._process is not None:
            self._process.kill()

    def shared_memory_regions(self) -> list[Path]:
        """This server's regions in /dev/shm: each model instance has one."""
        return self._runtime.shared_memory_regions() if self._runtime else []

    def log_tail(self, count: int = 20, *, level: int = logging.DEBUG) -> list[str]:
        """The last lines of the server's log that are of at least ``level``."""
        return self._log.tail(count, level=level)

    def _started(self) -> tuple[ServerProcess, StubWatcher]:
        if self._process is None or self._watcher is None:
            raise RuntimeError("the server is not started: call start() first")
        return self._process, self._watcher

    def _address(self, service: str) -> str:
        port = self.ports[service]
        if port is None:
            raise RuntimeError(f"this server has no {service} service")
        host = reachable_host(self.hosts[service])
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _arguments(self, runtime: Runtime) -> list[str]:
        """The command line of `tritonserver`."""
        arguments = [f"--model-repository={repository}" for repository in self.repositories]
        arguments += [
            f"--backend-directory={runtime.backends}",
            f"--backend-config=python,shm-region-prefix-name={runtime.shared_memory_prefix}",
            # A stub that takes longer to load its model is given up, and giving it up may abort the whole server.
            f"--backend-config=python,stub-timeout-seconds={LOAD_S:.0f}",
            # Explicit control lets a model be unloaded whose stub died. A model that fails must not end the server
            # before it was asked for the reason.
            "--model-control-mode=explicit",
            "--exit-on-error=false",
            f"--exit-timeout-secs={DRAIN_S}",
            f"--log-verbose={self._verbose}",
            f"--grpc-address={self.hosts['gRPC']}",
            f"--grpc-port={self.ports['gRPC']}",
        ]
        arguments += [f"{STANDS_FOR}{variable}" for variable in restrictions(self.admin_token)]
        if self._access is not None:
            arguments += self._access.arguments(runtime.folder)
        # By name, and not as "*", which would take hidden folders for models.
        arguments += [f"--load-model={name}" for name in sorted({folder.name for folder in self._found})]
        if self.ports["HTTP"] is None:
            arguments.append("--allow-http=false")
        else:
            arguments += [f"--http-address={self.hosts['HTTP']}", f"--http-port={self.ports['HTTP']}"]
        if self.ports["metrics"] is None:
            arguments.append("--allow-metrics=false")
        else:
            arguments += [f"--metrics-address={self.hosts['metrics']}", f"--metrics-port={self.ports['metrics']}"]
        if self._model_control == "none" and all(is_complete(model) for model in self._found):
            # Auto-completion costs a process of its own for each model, over a second long, even with nothing to do.
            arguments.append("--disable-auto-complete-config")
        if not self._gpu:
            arguments += ["--allow-gpu-metrics=false", "--pinned-memory-pool-byte-size=0"]
        return arguments

    def _last_words(self) -> str:
        lines = self._log.tail(3, level=logging.ERROR) or self._log.tail(3)
        return f": {' | '.join(lines)}" if lines else ", without a word"


def explain(entry: ModelState) -> str:
    """Why a model version is not ready, on one line; the traceback that a Python backend adds is left out."""
    version = f" version {entry.version}" if entry.version else ""
    lines = [line.strip() for line in entry.reason.splitlines() if line.strip()]
    reason = lines[0] if lines else f"the server has it as {entry.state or 'never asked for'}"
    return f"model {entry.model!r}{version} did not load: {reason}"


def explain_loss(model: str, reason: str) -> str:
    """Why a model is out of the server's reach, on one line."""
    name = f"model {model!r}" if model else "a model"
    return f"{name} did not load: {reason} while it loaded (short of memory, or a crash in a library?)"


def is_complete(model: Path) -> bool:
    """Whether a model's configuration leaves nothing to be completed from the model file."""
    try:
        config = read_config(model / CONFIG_FILE)
    except RepositoryError:  # the server says what is wrong with it, if it can do nothing with it either
        return False
    return bool(config.backend and config.input and config.output and config.instance_group)


def check_repository(repository: Path) -> None:
    """Refuse a folder that is no model repository.

    Raises:
        RepositoryError: it does not exist, is no folder, or no folder in it has a config.pbtxt or a version.
    """
    if not repository.is_dir():
        raise RepositoryError(f"{repository} is no folder: name a model repository (MODEL/VERSION/model.onnx in it)")
    for model in repository.iterdir():
        if (model / "config.pbtxt").is_file() or any(version.is_file() for version in model.glob("[0-9]*/model.onnx")):
            return
    raise RepositoryError(
        f"{repository} holds no model: expected MODEL/VERSION/model.onnx in it, as `neurips16 export` writes"
    )
