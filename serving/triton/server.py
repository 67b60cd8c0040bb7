"""A Triton server from pip, run on a model repository: started, watched, stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from neurips16.serving.errors import ModelFailedError, RepositoryError, ServerFailedError
from neurips16.serving.repository import CONFIG_FILE
from neurips16.serving.triton.address import accepts, claim_ports, reachable_host, settle_hosts
from neurips16.serving.triton.admin_token import check_token, make_token, save_token
from neurips16.serving.triton.admission import admit, admit_again
from neurips16.serving.triton.in_flight import Activity, at_work, read_activities
from neurips16.serving.triton.installation import gpu_usable
from neurips16.serving.triton.keeper import ServerKeeper
from neurips16.serving.triton.launch import STOP_S, Installation, Launch
from neurips16.serving.triton.loaded_models import LoadedModel, differing, read_loaded
from neurips16.serving.triton.log import ServerLog
from neurips16.serving.triton.management_client import ControlError, ModelState, ServerControl
from neurips16.serving.triton.memory_limit import limit_memory
from neurips16.serving.triton.process import ServerProcess
from neurips16.serving.triton.quarantine import write_quarantined
from neurips16.serving.triton.repositories import assumed, check_repository, explain
from neurips16.serving.triton.repository_poller import Fingerprint, RepositoryPoller
from neurips16.serving.triton.run_folder import RunFolder

if TYPE_CHECKING:
    from neurips16.serving.triton.tls import ControlAccess, ServerTLS

logger = logging.getLogger("neurips16.serving.triton.server")

MODEL_CONTROLS = ("none", "explicit", "poll")
READY_TIMEOUT_S = 120.0
POLL_S = 0.05


class TritonServer:
    """Triton on one or more model repositories; a context manager that is ready inside.

    A server that ends by itself is started again on its ports, with what it had loaded; a model that crashes it again
    and again is left out (`quarantined`).

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
        op_libraries: libraries of operators, beside ours, that a model's configuration may name. They are programs.
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
        op_libraries: Sequence[str] = (),
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
        self._op_libraries = list(op_libraries)
        self._verbose = verbose
        self._wanted: set[str] | None = None  # the models that should be ready, once the start is over
        self._found: dict[Path, Fingerprint] = {}  # the models to load at the start, by folder
        self._own_configs: dict[str, Mapping[str, Any]] = {}  # of models as they were loaded from the repository
        self._log = ServerLog(load_failures=model_control == "explicit")
        self._start_with: Launch | None = None
        self._folder: RunFolder | None = None
        self._process: ServerProcess | None = None
        self._access: ControlAccess | None = None
        self._control: ServerControl | None = None
        self._keeper: ServerKeeper | None = None
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
    def metrics_url(self) -> str:
        """Where the metrics are read, as HOST:PORT."""
        return self._address("metrics")

    @property
    def models(self) -> set[str]:
        """The models that this server should have ready."""
        return set(self._wanted or ())

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._started()[0].pid

    @property
    def restarts(self) -> int:
        """How often the server was started again after it had ended by itself."""
        return self._keeper.restarts if self._keeper else 0

    @property
    def quarantined(self) -> dict[str, str]:
        """The models that are served no more, because they crashed the server, and why."""
        return self._keeper.quarantine.models if self._keeper else {}

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
        installation, gpu = Installation.find(), gpu_usable()
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
        if not gpu:
            self._log.leave_out_gpu_chatter()
        self._folder = RunFolder.create()
        self.admin_token_file = save_token(self.admin_token, self._folder.folder)
        self._start_with = Launch(
            installation,
            self._folder,
            self.repositories,
            self.hosts,
            self.ports,
            self.admin_token,
            tls_arguments=[] if self._access is None else self._access.arguments(self._folder.folder),
            op_libraries=self._op_libraries,
            gpu=gpu,
            verbose=self._verbose,
        )
        try:
            self._launch(folder.name for folder in self._found)
        except ServerFailedError:
            self.stop()
            raise

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S, *, abandon: threading.Event | None = None) -> bool:
        """Wait until every model that was asked for is ready; False when ``abandon`` was set before.

        Raises:
            ServerFailedError: the server ended, or was not up within ``timeout_s``.
            ModelFailedError: it is up, but models did not load; the text has the reason of each.
        """
        _, folder = self._started()
        if not self._wait_live(timeout_s, abandon):
            return False
        wanted = {model.name for model in self._found}
        failed = [entry for entry in self._index() if entry.model in wanted and not entry.ready]
        wanted -= {entry.model for entry in failed}
        if failed and (self._strict or not wanted):
            raise ModelFailedError("; ".join(explain(entry) for entry in failed))
        for entry in failed:
            logger.error("left out: %s", explain(entry))
        self._wanted = wanted
        self._note_own(wanted)
        self._say_assumed()
        self._follow_repository(self._found)
        self._keeper = ServerKeeper(self, folder)
        self._keeper.start()
        return True

    def ready(self) -> bool:
        """Whether every model that should be ready can answer now."""
        if self._wanted is None or self._control is None:
            return False
        try:
            ready = {entry.model for entry in self._control.index() if entry.ready}
            return all(self._control.is_ready(model) for model in frozenset(self._wanted) - ready)
        except ControlError:
            return False

    def failure(self) -> str | None:
        """Why this server cannot be kept running, None while it can."""
        return self._keeper.failure if self._keeper else None

    def version(self) -> str:
        """The version of the running server, as it says itself."""
        if self._control is None:
            raise RuntimeError("the server is not started: call start() and wait_ready() first")
        return self._control.server_version()

    def stop(self) -> None:
        """Stop the server, in order where it can be, and remove all that it left. Does nothing when it is stopped."""
        if self._keeper is not None:
            self._keeper.stop()
        if self._poller is not None:
            self._poller.stop()
        if self._process is not None and not self._process.stop():
            logger.warning("Triton did not stop within %g s and was killed", STOP_S)
        if self._control is not None:
            self._control.close()
        if self._folder is not None:
            self._folder.remove()
        self._keeper = self._poller = self._process = self._control = self._folder = self._wanted = None
        self.admin_token_file = self._access = None

    def kill(self) -> None:
        """End the server at once, with requests in hand; `stop` is still needed after it. Safe in a signal handler."""
        if self._keeper is not None:
            self._keeper.let_go()
        if self._process is not None:
            self._process.kill()

    def log_tail(self, count: int = 20, *, level: int = logging.DEBUG) -> list[str]:
        """The last lines of the server's log that are of at least ``level``."""
        return self._log.tail(count, level=level)

    def ended(self) -> tuple[str, list[Activity]] | None:
        """What is known of the end of a server that ended by itself, and what it was doing; None while it runs."""
        process, folder = self._started()
        if process.poll() is None:
            return None
        activities = read_activities(folder.in_flight)
        return f"Triton ended by itself with status {process.poll()}{at_work(activities)}", activities

    def loaded_models(self) -> dict[str, LoadedModel]:
        """What is loaded: as our backend wrote it down, and after that what other backends have (ensembles, say).

        Raises:
            ControlError: the server does not answer.
        """
        _, folder = self._started()
        assert self._control is not None
        before = read_loaded(folder.loaded)
        ready = {entry.model for entry in self._control.index() if entry.ready}
        noted = read_loaded(folder.loaded)
        others = sorted(ready - before.keys() - noted.keys())  # a record may go, or come, meanwhile
        return noted | {name: LoadedModel.of(self._control.config(name)) for name in others}

    def replace(self, loaded: Mapping[str, LoadedModel], without: Mapping[str, str]) -> None:
        """Start a server in the place of one that has ended.

        What an admin had loaded with a configuration or files of the call's own is not loaded from the repository, not
        even for a moment: it comes back as it was, or is not ready. (The parts of an ensemble are, for a moment: Triton
        loads them with it from there.)

        Args:
            loaded: what the ended one had loaded.
            without: the models that are refused at this start, and why. Once it is over, whoever loads one by its name
                has it back.

        Raises:
            ServingError: it could not be started, or ended again.
        """
        process, folder = self._started()
        if self._poller is not None:
            self._poller.stop()
        process.stop()  # its last lines
        if self._control is not None:
            self._control.close()
        folder.renew()
        admins = {model.name: model for model in differing(loaded.values(), self._own_configs)}
        models = self._models if self._model_control == "poll" else loaded.keys() | without.keys()
        found, refused = admit_again(self.repositories, models, self._before_load)
        known = {model.name for model in found}
        names = (known | admins.keys() if self._model_control == "poll" else set(loaded)) - without.keys()
        claim_ports(self.hosts, self.ports)
        write_quarantined(without, folder.quarantined)
        # Those that are refused are asked for, too: then the server's index says why they are missing.
        self._launch(((names - admins.keys()) | without.keys()) & known)
        self._wait_live(READY_TIMEOUT_S, None)
        folder.quarantined.unlink()
        for entry in self._index():
            if entry.model in names - admins.keys() and not entry.ready:
                logger.error("%s", explain(entry))
        self._note_own(names & known - admins.keys())
        # A refused folder is not loaded under a configuration of the call's own either; files of its own need none.
        self._bring_back(m for m in admins.values() if m.name in names and (m.files or m.name not in refused))
        self._wanted = names
        self._follow_repository(found)

    def _bring_back(self, loaded: Iterable[LoadedModel]) -> None:
        """Load again what an admin had loaded with a configuration or files of the call's own."""
        assert self._control is not None
        # Ensembles first: to load one takes the files of a call from its parts.
        for model in sorted(loaded, key=lambda model: model.noted):
            try:
                self._control.load(model.name, *model.call_parameters())
            except ControlError as error:
                logger.error("model %r cannot be loaded again as it was, and is not served: %s", model.name, error)

    def _note_own(self, names: Collection[str]) -> None:
        """Note the configurations of models that have just been loaded from the repository, to know an admin's by."""
        try:
            self._own_configs |= {
                name: model.config for name, model in self.loaded_models().items() if name in names and not model.files
            }
        except ControlError as error:
            raise ServerFailedError(f"Triton runs, but does not say what it has loaded: {error}") from error

    def _launch(self, models: Iterable[str]) -> None:
        assert self._start_with is not None
        self._process = self._start_with.process(models, self._log.feed)
        try:
            self._process.start()
        except OSError as error:
            self._process = None
            executable = self._start_with.installation.executable
            raise ServerFailedError(f"{executable} could not be started: {error}") from error
        if self._memory_limit is not None:
            limit_memory(self._process.pid, self._memory_limit)

    def _wait_live(self, timeout_s: float, abandon: threading.Event | None) -> bool:
        process, folder = self._started()
        deadline = time.monotonic() + timeout_s
        access = () if self._access is None else (self._access.credentials, self._access.server_name)
        self._control = ServerControl(self.url, self.admin_token, *access)
        # The server opens its ports after the attempt to load all models, that of gRPC first.
        while not (
            self._control.live() and all(accepts(self.hosts[name], port) for name, port in self.ports.items() if port)
        ):
            if process.poll() is not None:
                doing = at_work(read_activities(folder.in_flight))
                raise ServerFailedError(
                    f"Triton ended with status {process.poll()} before it was ready{doing}{self._last_words()}"
                )
            if time.monotonic() > deadline:
                raise ServerFailedError(f"Triton was not ready after {timeout_s:g} s{self._last_words()}")
            if abandon is not None and abandon.is_set():
                return False
            time.sleep(POLL_S)
        return True

    def _index(self) -> list[ModelState]:
        assert self._control is not None
        try:
            return self._control.index()
        except ControlError as error:
            raise ServerFailedError(f"Triton runs, but does not say what it has loaded: {error}") from error

    def _say_assumed(self) -> None:
        assert self._control is not None
        for model in self._found:
            if model.name in self.models and not (model / CONFIG_FILE).is_file():
                try:
                    logger.info("%s", assumed(self._control.config(model.name)))
                except ControlError as error:
                    logger.warning("what was assumed of model %r is not known: %s", model.name, error)

    def _follow_repository(self, found: dict[Path, Fingerprint]) -> None:
        if self._model_control != "poll":
            return
        assert self._control is not None
        assert self._wanted is not None
        self._poller = RepositoryPoller(
            self.repositories,
            self._models,
            found,
            self._control,
            self._wanted,
            self._before_load,
            lambda name: self._note_own([name]),
            self._poll_s,
        )
        self._poller.start()

    def _started(self) -> tuple[ServerProcess, RunFolder]:
        if self._process is None or self._folder is None:
            raise RuntimeError("the server is not started: call start() first")
        return self._process, self._folder

    def _address(self, service: str) -> str:
        port = self.ports[service]
        if port is None:
            raise RuntimeError(f"this server has no {service} service")
        host = reachable_host(self.hosts[service])
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _last_words(self) -> str:
        lines = self._log.tail(3, level=logging.ERROR) or self._log.tail(3)
        return f": {' | '.join(lines)}" if lines else ", and said nothing"
