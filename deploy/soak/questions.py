"""What is asked: inputs of several sizes for every model, with the answers that are right."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from examples import example_inputs
from gpu.check import values

from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol import messages
from neurips16.clients.protocol.messages import SequenceStep
from neurips16.clients.protocol.operation import single
from neurips16.export.parity.difference import compare
from neurips16.export.spec import ModelSpec, TensorSpec, read_spec
from neurips16.serving.repository import newest_model
from neurips16.serving.triton.installation import find_ops_library

Arrays = Mapping[str, np.ndarray]

# Lengths of the free axes, from the least to the largest; T is one second of sound and more.
LENGTHS: dict[str, tuple[int, ...]] = {
    "N": (1, 2, 4),
    "H": (32, 96, 240),
    "W": (48, 128, 320),
    "T": (22_050, 44_100, 110_250),
    "L": (8, 64, 512),
    "P": (1, 16, 128),
}
OTHER_LENGTHS = (4, 8, 16)
MOST_EXAMPLES = 4  # requests of examples, of each model
STEPS = 4  # of a sequence


@dataclass(frozen=True)
class Question:
    """One request, and what it should be answered with; of a model that keeps state, a sequence of them."""

    model: str
    inputs: Arrays
    outputs: tuple[TensorSpec, ...]
    answers: tuple[Arrays, ...]  # any of them, but whole
    cost_s: float  # of the model by itself
    later: tuple[tuple[Arrays, Arrays], ...] = ()  # the further steps of a sequence: inputs and the right answer

    @property
    def steps(self) -> list[tuple[Arrays, SequenceStep | None]]:
        """The inputs of each request, with its place in a new sequence where the model keeps state."""
        if not self.later:
            return [(self.inputs, None)]
        inputs = [self.inputs, *(one for one, _ in self.later)]
        number = secrets.randbits(62) + 1
        return [(one, SequenceStep(number, i == 0, i == len(inputs) - 1)) for i, one in enumerate(inputs)]

    def match(self, got: Arrays) -> tuple[int, str]:
        """Which of the right answers ``got`` is, within the model's own tolerances; -1 and why where it is none."""
        return self._match(got, self.inputs, self.answers)

    def match_later(self, step: int, got: Arrays) -> str:
        """What is wrong with the answer to a further step of the sequence, if anything."""
        inputs, answer = self.later[step - 1]
        return self._match(got, inputs, [answer])[1]

    def _match(self, got: Arrays, inputs: Arrays, answers: Sequence[Arrays]) -> tuple[int, str]:
        problems = [f"there is no {tensor.name}" for tensor in self.outputs if tensor.name not in got]
        for place, answer in enumerate([] if problems else answers):
            wrong = [f"{t.name}: {p}" for t in self.outputs for p in compare(t, got[t.name], answer[t.name])[1]]
            if not wrong:
                return place, ""
            problems += wrong
        sizes = ", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())
        return -1, f"{self.model} ({sizes}): {'; '.join(problems)}"


def make_questions(
    repository: Path, models: Iterable[str] | None = None, *, sizes: int = 6, seed: int = 0
) -> list[Question]:
    """Questions to the newest version of each model, answered by ONNX Runtime in this process.

    Besides those of several sizes, each model is asked what its task's examples ask it.

    Args:
        repository: a model repository of ours.
        models: those to ask; None for all.
        sizes: how many questions of each model; the first has all free axes at their least, the last at their largest.
        seed: of the sizes between and of the values.
    """
    local = LocalClient(repository, op_library=find_ops_library())
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory(prefix="neurips16-examples-") as output:
        shown = example_inputs(local, Path(output))
    questions = []
    for folder in sorted(repository.iterdir()):
        path = newest_model(folder) if folder.is_dir() and (models is None or folder.name in models) else None
        if path is None:
            continue
        spec = read_spec(path)
        for number in range(sizes):
            lengths = _lengths(spec, number, sizes, rng)
            if spec.states:  # whose requests are one row each
                lengths["N"] = 1
            steps = [
                {tensor.name: values(tensor, lengths, rng) for tensor in spec.inputs}
                for _ in range(STEPS if spec.states else 1)
            ]
            questions.append(answered(local, folder.name, steps, spec))
        for inputs in () if spec.states else shown.get(folder.name, ())[:MOST_EXAMPLES]:
            questions.append(answered(local, folder.name, [inputs], spec))
    return questions


def answered(local: LocalClient, model: str, steps: Sequence[Arrays], spec: ModelSpec) -> Question:
    """A question of one request, or of the steps of a sequence, whose right answers are those in this process."""
    question = Question(model, steps[0], spec.outputs, (), 0.0, tuple((inputs, {}) for inputs in steps[1:]))
    for _ in range(2):  # the first run pays for memory
        began = time.perf_counter()
        first, *others = (local.run(single(messages.infer(model, i, sequence=s))) for i, s in question.steps)
        cost_s = time.perf_counter() - began
    later = tuple(zip(steps[1:], others, strict=True))
    return Question(model, steps[0], spec.outputs, (first,), cost_s, later)


def weights(questions: Sequence[Question]) -> np.ndarray:
    """How often each is asked, as probabilities: the costly ones less, by the root of what they cost."""
    drawn = 1 / np.sqrt([question.cost_s for question in questions])
    return drawn / drawn.sum()


def _lengths(spec: ModelSpec, number: int, sizes: int, rng: np.random.Generator) -> dict[str, int]:
    """A length for each free axis of the inputs."""
    found = {}
    for name in sorted({dim for tensor in spec.inputs for dim in tensor.dims if isinstance(dim, str)}):
        choice = LENGTHS.get(name, OTHER_LENGTHS)
        place = 0 if number == 0 else -1 if number == sizes - 1 else int(rng.integers(len(choice)))
        found[name] = min(choice[place], spec.max_batch_size) if name == "N" else choice[place]
    return found
