"""What `tritonserver` is started with: its command line, its environment, what is preloaded into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from neurips16.serving.triton.admin_token import restrictions
from neurips16.serving.triton.installation import (
    cuda_folders,
    find_backend,
    find_onnxruntime,
    find_ops_library,
    find_preload,
    find_triton,
)
from neurips16.serving.triton.process import STANDS_FOR, ServerProcess
from neurips16.serving.triton.run_folder import RunFolder, server_environment

DRAIN_S = 10  # how long the server waits for the requests in hand when it is stopped
STOP_S = 30.0  # after this it is killed


@dataclass(frozen=True)
class Installation:
    """The files that a server is made of, as they are found in this environment."""

    executable: Path
    libraries: Path
    backend: Path
    runtime: Path
    preload: Path
    ops_library: Path | None

    @classmethod
    def find(cls) -> Installation:
        """Look for all of them.

        Raises:
            UnfitEnvironmentError: one is missing.
        """
        binary = find_triton()
        return cls(
            binary.executable, binary.libraries, find_backend(), find_onnxruntime(), find_preload(), find_ops_library()
        )


@dataclass(frozen=True)
class Launch:
    """How one server is started, each time that it is.

    Attributes:
        installation: its files.
        folder: its run folder.
        repositories: the model repositories.
        hosts, ports: of each service; a port of None leaves the service out.
        admin_token: what model control is kept for.
        tls_arguments: Triton's options for TLS.
        op_libraries: libraries of operators, beside ours, that a configuration may name.
        gpu: whether there is a GPU that ONNX Runtime can use.
        verbose: the level of Triton's own verbose log.
    """

    installation: Installation
    folder: RunFolder
    repositories: Sequence[Path]
    hosts: Mapping[str, str]
    ports: Mapping[str, int | None]
    admin_token: str
    tls_arguments: Sequence[str]
    op_libraries: Sequence[str]
    gpu: bool
    verbose: int

    def process(self, models: Iterable[str], on_line: Callable[[str], None]) -> ServerProcess:
        """The server's process, to be started, which loads ``models``; ``on_line`` gets each line of its output."""
        # By name, and not as "*", which would take hidden folders for models.
        command = [*self.arguments(), *(f"--load-model={name}" for name in sorted(set(models)))]
        return ServerProcess(command, self.environment(), self.installation.preload, STOP_S, on_line)

    def environment(self) -> dict[str, str]:
        """The server's environment variables."""
        folders = [self.installation.libraries, *(cuda_folders() if self.gpu else [])]
        variables = {**server_environment(folders), **restrictions(self.admin_token)}
        if not self.gpu:
            # KIND_AUTO then means the CPU, and KIND_GPU is refused, as on a machine without a GPU.
            variables["CUDA_VISIBLE_DEVICES"] = ""
        return variables

    def arguments(self) -> list[str]:
        """The command line, without the models to load."""
        settings: dict[str, object] = {
            "library": self.installation.runtime,
            "in-flight": self.folder.in_flight,
            "loaded": self.folder.loaded,
            "quarantined": self.folder.quarantined,
        }
        if self.installation.ops_library is not None:
            settings["ops-library"] = self.installation.ops_library
        if self.op_libraries:
            settings["allow-op-libraries"] = ":".join(self.op_libraries)
        arguments = [str(self.installation.executable)]
        arguments += [f"--model-repository={repository}" for repository in self.repositories]
        arguments += [
            f"--backend-directory={self.installation.backend.parents[1]}",
            *(f"--backend-config=onnxruntime,{name}={value}" for name, value in settings.items()),
            # A model that fails must not end the server before it was asked for the reason.
            "--model-control-mode=explicit",
            "--exit-on-error=false",
            f"--exit-timeout-secs={DRAIN_S}",
            f"--log-verbose={self.verbose}",
            f"--grpc-address={self.hosts['gRPC']}",
            f"--grpc-port={self.ports['gRPC']}",
        ]
        arguments += [f"{STANDS_FOR}{variable}" for variable in restrictions(self.admin_token)]
        arguments += self.tls_arguments
        if self.ports["HTTP"] is None:
            arguments.append("--allow-http=false")
        else:
            arguments += [f"--http-address={self.hosts['HTTP']}", f"--http-port={self.ports['HTTP']}"]
        if self.ports["metrics"] is None:
            arguments.append("--allow-metrics=false")
        else:
            arguments += [f"--metrics-address={self.hosts['metrics']}", f"--metrics-port={self.ports['metrics']}"]
        if not self.gpu:
            arguments += ["--allow-gpu-metrics=false", "--pinned-memory-pool-byte-size=0"]
        return arguments
