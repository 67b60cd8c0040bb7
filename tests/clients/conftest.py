"""A KServe v2 server in this process, with the premise models as small NumPy functions and faults on demand."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent import futures
from dataclasses import dataclass, field

import grpc
import numpy as np
import pytest
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from neurips16.clients.client import Client
from neurips16.clients.command import main
from neurips16.clients.media.limits import VARIABLES
from neurips16.clients.protocol.connection import Retry, Timeout

EMBEDDING_SIZE, RANK_SIZE = 16, 11
ALPHABET = " !$&(),0123456789:<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz|~"
PREMISE_ENCODER, RANKER = "premise_encoder", "premise_ranker"
MODELS = {PREMISE_ENCODER, RANKER}
SIDES = ("premise", "conjecture")

_DRAW = np.random.default_rng(16)
_TABLES = {side: _DRAW.standard_normal((256, EMBEDDING_SIZE)) for side in SIDES}


def embed(side: str, code: bytes) -> np.ndarray:
    """What the fake encoder answers for one formula [D]: order matters, so that a mixed-up row is seen."""
    values = np.frombuffer(code, np.uint8)
    if values.size == 0:
        return np.zeros(EMBEDDING_SIZE, np.float32)
    place = np.cos(np.arange(values.size))[:, None] + 1.5
    return ((_TABLES[side][values] * place).sum(0) / values.size).astype(np.float32)


def pair_score(conjecture: np.ndarray, premises: np.ndarray) -> np.ndarray:
    """The ranker's scores [..., P]."""
    return (conjecture[..., None, :RANK_SIZE] * premises[..., :RANK_SIZE]).sum(-1)


@dataclass
class Faults:
    """What the fake server does wrong, and what it saw."""

    unavailable: int = 0  # that many calls are refused
    fail_with: grpc.StatusCode | None = None  # inferences fail
    fail_times: int = 10**9  # that many of them
    delay_s: float = 0.0  # before each inference
    missing: set[str] = field(default_factory=set)  # models that it does not know
    unloaded: set[str] = field(default_factory=set)  # models that it knows, but has not loaded
    builds: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    change_output: object = None  # (model, outputs) -> outputs
    required_header: tuple[str, str] | None = None
    admin_header: tuple[str, str] | None = None  # what the index is kept for, as Triton keeps it
    calls: Counter = field(default_factory=Counter)
    shapes: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    requests: list = field(default_factory=list)
    given_up: int = 0  # requests that their client cancelled
    in_flight: int = 0
    most_in_flight: int = 0


class FakeServer(service_pb2_grpc.GRPCInferenceServiceServicer):
    embedding_size = EMBEDDING_SIZE
    alphabet = ALPHABET
    embed = staticmethod(embed)
    pair_score = staticmethod(pair_score)

    def __init__(self) -> None:
        self.faults = Faults()
        self.lock = threading.Lock()
        self.max_batch_size = 8
        self.max_length = 256
        self.url = ""

    def _enter(self, method: str, context: grpc.ServicerContext, model: str = "") -> None:
        faults = self.faults
        with self.lock:
            faults.calls[method] += 1
            refuse = faults.unavailable > 0
            faults.unavailable -= refuse
        if faults.required_header and faults.required_header not in context.invocation_metadata():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        if refuse:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        known = {*MODELS, "echo"} - faults.missing - faults.unloaded
        if model and model not in known:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{model}' is not found")

    def ServerLive(self, request, context):  # noqa: N802
        self._enter("ServerLive", context)
        return service_pb2.ServerLiveResponse(live=True)

    def ServerReady(self, request, context):  # noqa: N802
        self._enter("ServerReady", context)
        return service_pb2.ServerReadyResponse(ready=True)

    def RepositoryIndex(self, request, context):  # noqa: N802
        self._enter("RepositoryIndex", context)
        if self.faults.admin_header and self.faults.admin_header not in context.invocation_metadata():
            context.abort(grpc.StatusCode.UNAVAILABLE, "This protocol is restricted")
        reply = service_pb2.RepositoryIndexResponse()
        for name in MODELS - self.faults.missing:
            if name in self.faults.unloaded:
                reply.models.add(name=name, version="1", state="UNAVAILABLE", reason="unloaded")
            else:
                reply.models.add(name=name, version="1", state="READY")
        return reply

    def ModelStatistics(self, request, context):  # noqa: N802
        self._enter("ModelStatistics", context)
        reply = service_pb2.ModelStatisticsResponse()
        for name in MODELS - self.faults.missing - self.faults.unloaded:
            reply.model_stats.add(name=name, version="1")
        return reply

    def ModelConfig(self, request, context):  # noqa: N802
        self._enter("ModelConfig", context, request.name)
        config = model_config_pb2.ModelConfig(
            name=request.name, backend="onnxruntime", max_batch_size=self.max_batch_size
        )
        parameters = {"build": self.faults.builds.get(request.name, "c0ffee")}
        parameters |= {"embedding_size": str(EMBEDDING_SIZE), "rank_size": str(RANK_SIZE)}
        if request.name == RANKER:
            config.input.add(name="conjecture", data_type="TYPE_FP32", dims=[EMBEDDING_SIZE])
            config.input.add(name="premises", data_type="TYPE_FP32", dims=[-1, EMBEDDING_SIZE])
            config.output.add(name="scores", data_type="TYPE_FP32", dims=[-1])
            config.output.add(name="logits", data_type="TYPE_FP32", dims=[-1])
        else:
            parameters |= {"alphabet": ALPHABET, "max_length": str(self.max_length)}
            config.input.add(name="text", data_type="TYPE_UINT8", dims=[-1])
            for side in SIDES:
                config.output.add(name=f"{side}_embedding", data_type="TYPE_FP32", dims=[EMBEDDING_SIZE])
        for key, value in (parameters | self.faults.parameters).items():
            config.parameters[key].string_value = value
        return service_pb2.ModelConfigResponse(config=config)

    def ModelInfer(self, request, context):  # noqa: N802
        faults = self.faults  # a request that its client gave up must not be seen by the next test
        with self.lock:
            faults.in_flight += 1
            faults.most_in_flight = max(faults.in_flight, faults.most_in_flight)
            faults.requests.append(request)
        try:
            self._enter("ModelInfer", context, request.model_name)
            time.sleep(faults.delay_s)
            faults.given_up += not context.is_active()
            with self.lock:
                fails = faults.fail_with is not None and faults.fail_times > 0
                faults.fail_times -= fails
            if fails:
                context.abort(faults.fail_with, "as asked")
            inputs = {t.name: (t, raw) for t, raw in zip(request.inputs, request.raw_input_contents, strict=True)}
            if request.model_name == "echo":
                return self._echo(request)
            outputs = self._outputs(request.model_name, inputs, context, faults)
            if faults.change_output:
                outputs = faults.change_output(request.model_name, outputs)
            wanted = [o.name for o in request.outputs] or list(outputs)
            reply = service_pb2.ModelInferResponse(model_name=request.model_name, model_version="1")
            for name in wanted:
                if name in outputs:
                    value = outputs[name]
                    datatype = {"f": "FP32", "d": "FP64"}[value.dtype.char]
                    reply.outputs.add(name=name, datatype=datatype, shape=value.shape)
                    reply.raw_output_contents.append(value.tobytes())
            return reply
        finally:
            with self.lock:
                faults.in_flight -= 1

    def _echo(self, request):
        reply = service_pb2.ModelInferResponse(model_name="echo")
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            reply.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
            reply.raw_output_contents.append(raw)
        return reply

    def _outputs(self, model, inputs, context, faults):
        def take(name, datatype, numpy_dtype):
            if name not in inputs or inputs[name][0].datatype != datatype:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"expected input '{name}' of {datatype}")
            tensor, raw = inputs[name]
            return np.frombuffer(raw, numpy_dtype).reshape(tuple(tensor.shape))

        if model == RANKER:
            conjecture, premises = take("conjecture", "FP32", "<f4"), take("premises", "FP32", "<f4")
            faults.shapes.append((model, premises.shape))
            logits = (conjecture[:, None, RANK_SIZE:] * premises[..., RANK_SIZE:]).sum(-1)
            return {"scores": pair_score(conjecture, premises), "logits": logits}
        text = take("text", "UINT8", np.uint8)
        faults.shapes.append((model, text.shape))
        if len(text) > self.max_batch_size:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the batch is too large")
        codes = [bytes(row).rstrip(b"\0").translate(None, b" \t\r\n")[: self.max_length] for row in text]
        return {f"{side}_embedding": np.stack([embed(side, code) for code in codes]) for side in SIDES}


def _start(servicer: FakeServer, credentials: grpc.ServerCredentials | None = None, port: str | int = 0) -> grpc.Server:
    server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    add = server.add_insecure_port if credentials is None else lambda at: server.add_secure_port(at, credentials)
    servicer.url = f"localhost:{add(f'localhost:{port}')}"
    server.start()
    return server


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("URL", "TLS_CA", "TLS_CERTIFICATE", "TLS_KEY", "AUTHORIZATION", "ADMIN_TOKEN"):
        monkeypatch.delenv(f"NEURIPS16_{name}", raising=False)
    for name in VARIABLES:  # a command sets them
        monkeypatch.setenv(name, "")


@pytest.fixture(scope="session")
def _server():
    servicer = FakeServer()
    server = _start(servicer)
    yield servicer
    server.stop(None).wait()


@pytest.fixture
def start_server():
    """A function that starts one more fake server; all are stopped after the test."""
    servers = []

    def start(credentials: grpc.ServerCredentials | None = None, port: str | int = 0) -> FakeServer:
        servicer = FakeServer()
        servicer.server = _start(servicer, credentials, port)
        servers.append(servicer.server)
        return servicer

    yield start
    for server in servers:
        server.stop(None).wait()


@pytest.fixture
def server(_server):
    """The fake server, without faults."""
    _server.faults = Faults()
    _server.max_batch_size, _server.max_length = 8, 256
    return _server


@pytest.fixture
def client(server):
    with Client(server.url, retry=Retry(attempts=4, initial_s=0.01, max_s=0.02), timeout=Timeout(10, 10)) as client:
        yield client


@pytest.fixture
def run_command(monkeypatch, capsys):
    """Run `neurips16 …` in this process: (exit status, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["neurips16", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def scoring_repository(tmp_path_factory):
    """Tiny models with the signatures of the shipped ones, as a model repository."""
    pytest.importorskip("onnx", reason="the tiny models are made with the export extra")
    from .scoring_models import write_repository

    return write_repository(tmp_path_factory.mktemp("scoring"))


@pytest.fixture
def scoring_server(scoring_repository):
    """A server of them, which counts what it is asked."""
    from .scoring_models import serve

    servicer, server = serve(scoring_repository)
    yield servicer
    server.stop(None).wait()


@pytest.fixture
def statements(tmp_path):
    """A CSV of statements, with an id each."""
    from .scoring_models import STATEMENTS

    rows = [f"s{i},{text}" for i, text in enumerate(STATEMENTS)]
    path = tmp_path / "statements.csv"
    path.write_text("\n".join(["id,text", *rows]) + "\n")
    return path
