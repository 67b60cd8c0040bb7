"""A repository of tiny models with the signatures of the shipped ones, and a server of it in this process."""

from __future__ import annotations

import json
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
import onnx
from tritonclient.grpc import service_pb2_grpc

from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol.errors import RequestError
from neurips16.export.spec import EXACT, ModelSpec, StateSpec, TensorSpec, embed_spec

EMBEDDING_SIZE = 4
RATE, WINDOW, STEP = 8_000, 8_000, 2_000
LABELS = ["red", "green", "blue"]
STATEMENTS = [f"! [X{i}] : (p{i % 5}(X{i}) => q({'f(' * (i % 4)}X{i}{')' * (i % 4)}))" for i in range(70)]
_DTYPES = {onnx.TensorProto.UINT8: "UINT8", onnx.TensorProto.FLOAT: "FP32", onnx.TensorProto.INT32: "INT32"}

# Probabilities by how much there is of each colour.
_CLASSIFIER = """
<ir_version: 10, opset_import: ["": 20]>
classifier (uint8[N,H,W,3] image) => (float[N,3] class_probabilities) {
    axes = Constant <value_ints = [1, 2]> ()
    scale = Constant <value_float = 40.0> ()
    values = Cast <to = 1> (image)
    means = ReduceMean <keepdims = 0> (values, axes)
    scores = Div (means, scale)
    class_probabilities = Softmax <axis = 1> (scores)
}"""

# Two objects on each image, as sure as it is red and green, both as large as the image.
_DETECTOR = """
<ir_version: 10, opset_import: ["": 20]>
detector (uint8[N,H,W,3] image) => (int32[N,1] num_detections, float[N,2,4] detection_boxes,
                                    float[N,2] detection_scores, int32[N,2] detection_classes) {
    axes = Constant <value_ints = [1, 2]> ()
    two = Constant <value_ints = [2]> ()
    zero = Constant <value_ints = [0]> ()
    one = Constant <value_ints = [1]> ()
    scale = Constant <value_float = 255.0> ()
    values = Cast <to = 1> (image)
    means = ReduceMean <keepdims = 0> (values, axes)
    some = Slice (means, zero, two, one)
    detection_scores = Div (some, scale)
    shape = Shape (image)
    batch = Gather <axis = 0> (shape, zero)
    count = Constant <value_ints = [2]> ()
    count32 = Cast <to = 6> (count)
    count_shape = Concat <axis = 0> (batch, one)
    num_detections = Expand (count32, count_shape)
    classes = Constant <value_ints = [0, 1]> ()
    classes32 = Cast <to = 6> (classes)
    classes_shape = Concat <axis = 0> (batch, two)
    detection_classes = Expand (classes32, classes_shape)
    places = Constant <value_ints = [2, 1]> ()
    size = Gather <axis = 0> (shape, places)
    size32 = Cast <to = 1> (size)
    nought = Sub (size32, size32)
    box = Concat <axis = 0> (nought, size32)
    boxes_shape_tail = Constant <value_ints = [2, 4]> ()
    boxes_shape = Concat <axis = 0> (batch, boxes_shape_tail)
    detection_boxes = Expand (box, boxes_shape)
}"""

# Four steps; the louder the window, the surer of the first class.
_SOUNDS = """
<ir_version: 10, opset_import: ["": 20]>
sounds (float[N,T] waveform) => (float[N,4,3] step_probabilities, float[N,4] step_weights) {
    four = Constant <value_ints = [4]> ()
    three = Constant <value_ints = [3]> ()
    last = Constant <value_ints = [2]> ()
    zero = Constant <value_ints = [0]> ()
    begin = Constant <value_ints = [0]> ()
    shape = Shape (waveform)
    batch = Gather <axis = 0> (shape, zero)
    steps = Concat <axis = 0> (batch, four)
    tail = Constant <value_ints = [-1]> ()
    split_shape = Concat <axis = 0> (batch, four, tail)
    parts = Reshape (waveform, split_shape)
    loud = Abs (parts)
    peaks = ReduceMax <keepdims = 1> (loud, last)
    gains = Constant <value_floats = [3.0, 1.0, 0.0]> ()
    scores = Mul (peaks, gains)
    step_probabilities = Softmax <axis = 2> (scores)
    unit = Constant <value_float = 1.0> ()
    step_weights = Expand (unit, steps)
}"""

# Sums over the characters, which zeros behind them do not change.
_ENCODER = """
<ir_version: 10, opset_import: ["": 20]>
encoder (uint8[N,L] text) => (float[N,4] premise_embedding, float[N,4] conjecture_embedding) {
    axes = Constant <value_ints = [1]> ()
    scale = Constant <value_float = 0.01> ()
    values = Cast <to = 1> (text)
    small = Mul (values, scale)
    sines = Sin (small)
    squares = Mul (small, small)
    cubes = Mul (squares, sines)
    a = ReduceSum <keepdims = 1> (small, axes)
    b = ReduceSum <keepdims = 1> (sines, axes)
    c = ReduceSum <keepdims = 1> (squares, axes)
    d = ReduceSum <keepdims = 1> (cubes, axes)
    all = Concat <axis = 1> (a, b, c, d)
    factor = Constant <value_float = -0.5> ()
    premise_embedding = Identity (all)
    conjecture_embedding = Mul (all, factor)
}"""

_RANKER = """
<ir_version: 10, opset_import: ["": 20]>
ranker (float[N,4] conjecture, float[N,P,4] premises) => (float[N,P] scores) {
    axes = Constant <value_ints = [1]> ()
    last = Constant <value_ints = [2]> ()
    single = Unsqueeze (conjecture, axes)
    products = Mul (single, premises)
    scores = ReduceSum <keepdims = 0> (products, last)
}"""


def write_repository(folder: Path) -> Path:
    """All models, version 1 of each."""
    labels = {"labels": json.dumps(LABELS)}
    rates = {"sample_rate_hz": str(RATE), "window_samples": str(WINDOW), "step_samples": str(STEP)}
    build = {"build": "c0ffee"}
    sizes = {"embedding_size": str(EMBEDDING_SIZE), "rank_size": str(EMBEDDING_SIZE)}
    reads = {"alphabet": "".join(map(chr, range(32, 127))), "max_length": "128"}
    for name, text, parameters in (
        ("tiny_classifier", _CLASSIFIER, labels),
        ("rfcn", _DETECTOR, labels),
        ("sound_classifier", _SOUNDS, labels | rates),
        ("premise_encoder", _ENCODER, build | reads | sizes),
        ("premise_ranker", _RANKER, build | sizes),
    ):
        write_model(folder, name, text, parameters)
    return folder


def write_model(
    folder: Path,
    name: str,
    text: str,
    parameters: dict[str, str],
    *,
    version: int = 1,
    states: tuple[StateSpec, ...] = (),
) -> None:
    model = onnx.parser.parse_model(text)
    onnx.checker.check_model(model)

    carried = {name for state in states for name in (state.input, state.output)}

    def tensors(values, **more):
        return tuple(
            TensorSpec(
                value.name,
                _DTYPES[value.type.tensor_type.elem_type],
                tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim),
                "of a test",
                **more,
            )
            for value in values
            if value.name not in carried
        )

    spec = ModelSpec(
        name=name,
        system="tiny",
        summary="For tests.",
        inputs=tensors(model.graph.input),
        outputs=tensors(model.graph.output, tolerance=EXACT),
        max_batch_size=8,
        paper="none",
        parameters=parameters,
        states=states,
    )
    embed_spec(model, spec)
    path = folder / name / str(version) / "model.onnx"
    path.parent.mkdir(parents=True)
    onnx.save(model, path)


class RepositoryServer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers from a repository, and remembers what it was asked."""

    def __init__(self, repository: Path) -> None:
        self._models = LocalClient(repository)
        self._lock = threading.Lock()
        self.url = ""
        self.flying = self.most_flying = 0
        self.versions: set[str] = set()
        self.peers: set[str] = set()
        self.fail_after = 10**9  # inferences that are answered before it says that it is not there
        self.dead = 0  # inferences that are refused, as by a server one of whose models has died
        self.inferences = 0
        self.delay_s = 0.0  # of each inference

    def _answer(self, method, request, context):
        try:
            return self._models.answer(method, request)
        except RequestError as error:
            context.abort(error.code, str(error))

    def ModelConfig(self, request, context):  # noqa: N802
        return self._answer("ModelConfig", request, context)

    def ModelMetadata(self, request, context):  # noqa: N802
        return self._answer("ModelMetadata", request, context)

    def ModelInfer(self, request, context):  # noqa: N802
        with self._lock:
            self.flying += 1
            self.inferences += 1
            self.most_flying = max(self.most_flying, self.flying)
            self.versions.add(request.model_version)
            self.peers.add(context.peer())
            gone = self.inferences > self.fail_after
            dead = self.dead > 0
            self.dead -= dead
        try:
            if dead:
                context.abort(grpc.StatusCode.INTERNAL, "the model's process is not healthy")
            if gone:
                context.abort(grpc.StatusCode.NOT_FOUND, "the model was unloaded")
            time.sleep(self.delay_s)
            return self._answer("ModelInfer", request, context)
        finally:
            with self._lock:
                self.flying -= 1


def serve(repository: Path) -> tuple[RepositoryServer, grpc.Server]:
    """A running server; its ``url`` says where."""
    servicer = RepositoryServer(repository)
    server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    servicer.url = f"localhost:{server.add_insecure_port('localhost:0')}"
    server.start()
    return servicer, server
