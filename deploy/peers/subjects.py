"""What is served: the same exported file to everybody, one input of its kind, and the answer that is right."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from neurips16.clients.media.audio import sound_blocks
from neurips16.clients.media.image_reading import read_image
from neurips16.export.ops import library_path
from neurips16.export.parity.difference import compare
from neurips16.export.session import make_session
from neurips16.export.spec import ModelSpec, TensorSpec, Tolerance, embed_spec, read_spec
from neurips16.serving.repository import newest_model

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "serving/models"
EXAMPLES = ROOT / "clients/tasks"
RATE_HZ, WINDOW = 22_050, 110_250  # five seconds, as our client sends them
MLP = "tiny_mlp"
MLP_WIDTHS = (64, 64, 16)
TITLES = {"rfcn": "small detector", "sound_classifier": "sound classifier", MLP: "tiny MLP"}


@dataclass(frozen=True)
class Subject:
    """One model and one request to it.

    Attributes:
        name: the model's name on the server.
        repository: the model repository that has it.
        array: its one input, batch axis first and of length 1.
        threads: inside one operator, for everybody.
    """

    name: str
    repository: Path
    array: np.ndarray
    threads: int

    @property
    def title(self) -> str:
        """What people call it."""
        return TITLES[self.name]

    @cached_property
    def path(self) -> Path:
        """The exported file that everybody serves."""
        path = newest_model(self.repository / self.name)
        if path is None:
            raise FileNotFoundError(f"{self.repository / self.name} has no version of the model")
        return path

    @cached_property
    def spec(self) -> ModelSpec:
        """What the file says of itself."""
        return read_spec(self.path)

    @property
    def input_name(self) -> str:
        """The name of the input."""
        (tensor,) = self.spec.inputs
        return tensor.name

    @property
    def output_names(self) -> list[str]:
        """The outputs, in the order in which they stand in a raw answer."""
        return [tensor.name for tensor in self.spec.outputs]

    @cached_property
    def session(self) -> onnxruntime.InferenceSession:
        """The model in process: the reference, and the limit."""
        return make_session(self.path, intra_op_threads=self.threads, op_library=library_path())

    @cached_property
    def reference(self) -> list[np.ndarray]:
        """The right answer."""
        return self.session.run(self.output_names, {self.input_name: self.array})

    def problems(self, answer: Sequence[np.ndarray]) -> list[str]:
        """What is wrong with an answer under the model's own tolerances; nothing when all is well."""
        found = []
        for tensor, got, want in zip(self.spec.outputs, answer, self.reference, strict=True):
            found += [f"{tensor.name}: {problem}" for problem in compare(tensor, got, want)[1]]
        return found


def shipped(name: str, threads: int) -> Subject | None:
    """A model of the shipped repository with the demo's picture or sound, None where it is not there (yet)."""
    if not (MODELS / name).is_dir():
        return None
    array = read_image(EXAMPLES / "detect/examples/cells.jpg")[None] if name == "rfcn" else rain()
    return Subject(name, MODELS, array, threads)


def rain() -> np.ndarray:
    """The demo's rain, repeated to the length of a window: FP32 [1, samples]."""
    sound = np.concatenate(list(sound_blocks(EXAMPLES / "classify_sound/examples/rain.ogg", None, RATE_HZ)))
    return np.resize(sound, WINDOW).astype(np.float32)[None]


def tiny_mlp(repository: Path, threads: int) -> Subject:
    """A model that costs nothing beside the way to it, written into ``repository``."""
    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "features"
    for layer, (inward, outward) in enumerate(itertools.pairwise(MLP_WIDTHS)):
        weight = (rng.standard_normal((inward, outward)) / np.sqrt(inward)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"weight{layer}"))
        nodes.append(helper.make_node("MatMul", [last, f"weight{layer}"], [f"product{layer}"]))
        nodes.append(helper.make_node("Tanh", [f"product{layer}"], [f"hidden{layer}"]))
        last = f"hidden{layer}"
    nodes.append(helper.make_node("Identity", [last], ["scores"]))
    spec = ModelSpec(
        name=MLP,
        system="bench",
        summary="Two layers of random weights.",
        inputs=(TensorSpec("features", "FP32", ("N", MLP_WIDTHS[0]), "anything"),),
        outputs=(
            TensorSpec(
                "scores",
                "FP32",
                ("N", MLP_WIDTHS[-1]),
                "between -1 and 1",
                tolerance=Tolerance(1e-4, 1e-5, "FP32, and the kernel depends on the batch"),
            ),
        ),
        max_batch_size=32,
        paper="none",
    )
    tensors = [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.dims) for t in (*spec.inputs, *spec.outputs)]
    graph = helper.make_graph(nodes, MLP, tensors[:1], tensors[1:], initializer=weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", spec.opset)], ir_version=spec.ir_version)
    embed_spec(model, spec)
    path = repository / MLP / "1/model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    array = rng.standard_normal((1, MLP_WIDTHS[0])).astype(np.float32)
    return Subject(MLP, repository, array, threads)
