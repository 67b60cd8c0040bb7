"""The tasks' own examples, as the demo runs them, and what they ask of the models.

    python deploy/examples.py                 prints every example as a command line

The soak and the GPU check take from here what real requests to each model look like.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2_grpc

from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol.errors import RequestError
from neurips16.clients.protocol.messages import DTYPES
from neurips16.clients.tasks import found_tasks

Arrays = dict[str, np.ndarray]
METHODS = ("ServerReady", "ModelConfig", "ModelMetadata", "RepositoryIndex", "ModelInfer")


def example_lines(output: Path, loaded: Sequence[str]) -> list[list[str]]:
    """The arguments of `neurips16` of every example whose models are there, task by task.

    Args:
        output: a folder that examples may write to.
        loaded: models that the server has.
    """
    return [
        [word.format(examples=task.folder, output=output) for word in line.split()]
        for task in found_tasks()
        if set(task.models) <= set(loaded)
        for line in task.examples
    ]


def run(url: str, arguments: Sequence[str], *, stdout: int | None = None) -> subprocess.CompletedProcess:
    """Run one `neurips16` command against a server."""
    command = [str(Path(sys.executable).parent / "neurips16"), *arguments]
    return subprocess.run(command, env={**os.environ, "NEURIPS16_URL": url}, stdout=stdout, check=False)


def example_inputs(local: LocalClient, output: Path) -> dict[str, list[Arrays]]:
    """What the examples ask of each model, and with which inputs, in the order of the requests.

    Args:
        local: the models; it answers the commands.
        output: a folder that examples may write to.

    Raises:
        RuntimeError: an example fails.
    """
    loaded = [status.name for status in local.models()]
    lines = example_lines(output, loaded)
    without = {name for task in found_tasks() if not task.models for name in task.command}
    with _recording(local) as (url, asked):
        for arguments in (words for words in lines if words[0] not in without):
            if status := run(url, arguments, stdout=subprocess.DEVNULL).returncode:
                raise RuntimeError(f"the example `neurips16 {' '.join(arguments)}` ended with status {status}")
    return asked


@contextmanager
def _recording(local: LocalClient) -> Iterator[tuple[str, dict[str, list[Arrays]]]]:
    """A server of these models, its address, and the inputs that each was asked with."""
    asked: dict[str, list[Arrays]] = {}
    lock = threading.Lock()

    def answering(method: str) -> Any:
        def answer(_: Any, request: Any, context: grpc.ServicerContext) -> Any:
            if method == "ModelInfer":
                with lock:
                    asked.setdefault(request.model_name, []).append(_inputs(request))
            try:
                return local.answer(method, request)
            except RequestError as error:
                context.abort(error.code, str(error))

        return answer

    methods = {method: answering(method) for method in METHODS}
    servicer = type("Recorder", (service_pb2_grpc.GRPCInferenceServiceServicer,), methods)()
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", asked
    finally:
        server.stop(None).wait()


def _inputs(request: Any) -> Arrays:
    return {
        tensor.name: np.frombuffer(raw, DTYPES[tensor.datatype][0]).reshape(tuple(tensor.shape))
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
    }


if __name__ == "__main__":
    for words in example_lines(Path("build/demo"), [name for task in found_tasks() for name in task.models]):
        print("neurips16", *words)  # noqa: T201
