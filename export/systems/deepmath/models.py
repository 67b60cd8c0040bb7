"""DeepMath as three ONNX models: two encoders that read a statement's bytes, and the ranker over their embeddings.

The first predictor layer is linear in [conjecture; premise], so each encoder ends in its half of it, and the ranker is
``w · relu(conjecture + premise) + b``: a premise is encoded once, however many conjectures it is ranked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neurips16.export.errors import ExportError
from neurips16.export.registry import ExportedModel
from neurips16.export.spec import MetricGate, ModelSpec, TensorSpec, Tolerance
from neurips16.training.data.deepmath.reader import read_library
from neurips16.training.system import CHECKPOINT_KEY, load_module, read_checkpoint
from neurips16.training.systems.deepmath.network import DeepMath, PremiseScorer, StatementEncoder

PAPER = "DeepMath - Deep Sequence Models for Premise Selection (Irving et al., NIPS 2016), section 4"
MAX_BATCH_SIZE = 64
PAIR_ACCURACY = MetricGate(
    "pair_accuracy", 0.002, "weights rounded to FP16 may move a few pairs across zero: two in a thousand at most"
)
SUMS = Tolerance(1e-4, 1e-5, "FP32 sums of up to 640 products in another order than torch's; values are of order 1")
COPIED = Tolerance(0.0, 0.0, "a constant: copied, not computed")
_WRAPPERS, _COMMA, _END = (b"fof(", b"cnf("), ord(","), b")."

# Ours, for an export without the data set: short and long, wrapped and bare.
SAMPLE_STATEMENTS = (
    "fof(sum_of_evens, axiom, ! [A, B] : ((v1_even(A) & v1_even(B)) => v1_even(k1_sum(A, B)))).",
    "! [A] : (m1_group(A) => ! [B] : (m1_element(B, A) => k2_times(A, B, k3_inverse(A, B)) = k4_unit(A)))",
    "p",
    "fof(chain, axiom, " + " & ".join(f"(r1_less(X{i}, X{i + 1}) | ~ v2_real(X{i}))" for i in range(40)) + ").",
)


class FormulaReader(nn.Module):
    """The bytes of statements to token ids: what `training.data.deepmath.normalise` does to text, as tensor operations.

    White space goes first; then, from ``fof(NAME,ROLE,FORMULA).``, all but FORMULA.
    """

    def __init__(self, vocabulary: Sequence[str], max_length: int):
        super().__init__()
        self.max_length = max_length
        ids = torch.zeros(256, dtype=torch.int64)
        for i, character in enumerate(vocabulary, start=1):
            ids[ord(character)] = i
        self.ids: Tensor
        self.kept: Tensor
        self.register_buffer("ids", ids)
        kept = torch.ones(256, dtype=torch.bool)
        kept[torch.tensor([0, *b" \t\n\v\f\r"])] = False
        self.register_buffer("kept", kept)

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Bytes uint8 [N, L] to ids int64 [N, T], -1 behind the end, and lengths int64 [N]."""
        codes = F.pad(text.to(torch.int64), (0, 8))  # so that the wrapper may be looked for in any text
        kept = self.kept[codes]
        size = kept.sum(dim=1, keepdim=True)  # [N, 1]
        codes = _packed(codes, kept)  # [N, L]
        columns = torch.arange(codes.shape[1], device=codes.device)
        opened = torch.zeros_like(size, dtype=torch.bool)
        for wrapper in _WRAPPERS:
            opened = opened | (codes[:, : len(wrapper)] == torch.tensor(list(wrapper))).all(dim=1, keepdim=True)
        closed = torch.ones_like(opened)
        for back, code in enumerate(reversed(_END), start=1):
            closed = closed & ((columns == size - back) & (codes == code)).any(dim=1, keepdim=True)
        commas = (codes == _COMMA).to(torch.int64).cumsum(dim=1)  # [N, L]
        wrapped = opened & closed & (commas[:, -1:] >= 2)
        # Of a wrapped statement: what stands behind the second comma and before the end.
        behind = (commas >= 2) & ((codes != _COMMA) | (commas > 2))
        formula = (columns < size - len(_END) * wrapped) & (behind | ~wrapped)
        lengths = formula.sum(dim=1).clamp(max=self.max_length)
        codes = _packed(codes, formula)[:, : self.max_length]
        inside = torch.arange(codes.shape[1], device=codes.device) < lengths[:, None]
        return torch.where(inside, self.ids[codes], -1), lengths


class StatementModel(nn.Module):
    """Bytes of statements to embeddings."""

    def __init__(self, reader: FormulaReader, encoder: StatementEncoder):
        super().__init__()
        self.reader, self.encoder = reader, encoder

    def forward(self, text: Tensor) -> dict[str, Tensor]:
        """``text`` uint8 [N, L] to ``embedding`` float32 [N, D]."""
        return {"embedding": self.encoder(*self.reader(text))}


class RankerModel(nn.Module):
    """Scores of encoded premises, and the weights for whoever ranks against an index of them."""

    def __init__(self, scorer: PremiseScorer):
        super().__init__()
        self.scorer = scorer

    def forward(self, conjecture: Tensor, premises: Tensor) -> dict[str, Tensor]:
        """``conjecture`` [N, D] and ``premises`` [N, P, D] to ``scores`` [N, P] and ``output_weights`` [N, D + 1]."""
        weights = torch.cat([self.scorer.output.weight[0], self.scorer.output.bias])
        return {
            "scores": self.scorer(conjecture[:, None, :], premises),
            "output_weights": weights.expand(conjecture.shape[0], -1),
        }


def models(checkpoint: Path, data: Path | None) -> list[ExportedModel]:
    """The three models of a checkpoint, in the order in which to publish them.

    Args:
        checkpoint: of `neurips16 train deepmath` at the character level with convolutions.
        data: the data set's folder, whose statements the parity check reads; None: some statements of ours.

    Raises:
        ExportError: the model reads words, or is recurrent; the graph has neither yet.
    """
    network = load_module(checkpoint, "deepmath")
    assert isinstance(network, DeepMath)
    h = network.hparams
    if h.level != "character" or h.encoder != "cnn":
        raise ExportError(
            f"{checkpoint} has level {h.level!r} and encoder {h.encoder!r}; only 'character' with 'cnn' is exported"
        )
    about = read_checkpoint(checkpoint)[CHECKPOINT_KEY]
    shared = {"system": "deepmath", "paper": PAPER, "metrics": (PAIR_ACCURACY,), "provenance": dict(about)}
    build = _build(network)
    reader = FormulaReader(h.vocabulary, h.max_length)
    lines = _parity_statements(data)
    cases = [{"text": text_batch(lines[:1])}, {"text": text_batch(lines[1:4])}, {"text": text_batch(lines)}]
    example = {"text": torch.from_numpy(text_batch(lines[1:4]))}
    exported, embeddings = [], []
    for name, encoder, what in (
        ("premise_encoder", network.premise_encoder, "a premise"),
        ("conjecture_encoder", network.conjecture_encoder, "a conjecture"),
    ):
        module = StatementModel(reader, encoder).eval()
        with torch.no_grad():
            embeddings.append(module(torch.from_numpy(text_batch(lines)))["embedding"])
        exported.append(ExportedModel(_encoder_spec(name, what, network, build, shared), module, example, cases, True))
    premises, conjectures = embeddings
    ranker_cases = [
        {"conjecture": conjectures[:c].numpy(), "premises": premises[None, :p].expand(c, -1, -1).numpy()}
        for c, p in ((1, 4), (3, 2))
    ]
    exported.append(
        ExportedModel(
            _ranker_spec(h.hidden, build, shared),
            RankerModel(network.scorer).eval(),
            {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in ranker_cases[1].items()},
            [{k: np.ascontiguousarray(v) for k, v in case.items()} for case in ranker_cases],
        )
    )
    return exported


def text_batch(lines: Sequence[str]) -> np.ndarray:
    """Statements as UINT8 [N, L], zeros behind the shorter ones."""
    encoded = [line.encode() for line in lines]
    batch = np.zeros((len(encoded), max(map(len, encoded))), np.uint8)
    for row, text in zip(batch, encoded, strict=True):
        row[: len(text)] = np.frombuffer(text, np.uint8)
    return batch


def _encoder_spec(name: str, what: str, network: DeepMath, build: str, shared: Mapping[str, Any]) -> ModelSpec:
    h = network.hparams
    return ModelSpec(
        name=name,
        summary=f"Encodes the statement of {what}: its half of the first predictor layer.",
        inputs=(
            TensorSpec(
                "text",
                "UINT8",
                ("N", "L"),
                "ASCII bytes of `fof(name, role, formula).` or of a bare formula, zeros behind the end; white space "
                "does not count, and characters of the formula beyond max_length are not read",
            ),
        ),
        outputs=(TensorSpec("embedding", "FP32", ("N", h.hidden), "half of the first layer", tolerance=SUMS),),
        max_batch_size=MAX_BATCH_SIZE,
        parameters={"alphabet": "".join(h.vocabulary), "max_length": str(h.max_length), "build": build},
        **shared,
    )


def _ranker_spec(hidden: int, build: str, shared: Mapping[str, Any]) -> ModelSpec:
    return ModelSpec(
        name="premise_ranker",
        summary="Scores how useful encoded premises are to prove encoded conjectures.",
        inputs=(
            TensorSpec("conjecture", "FP32", ("N", hidden), "from conjecture_encoder"),
            TensorSpec("premises", "FP32", ("N", "P", hidden), "from premise_encoder"),
        ),
        outputs=(
            TensorSpec("scores", "FP32", ("N", "P"), "logits: higher is more useful, 0 is even", tolerance=SUMS),
            TensorSpec(
                "output_weights",
                "FP32",
                ("N", hidden + 1),
                "constant: w, then b, of score = w · relu(conjecture + premise) + b, to rank against an index",
                tolerance=COPIED,
            ),
        ),
        max_batch_size=MAX_BATCH_SIZE,
        parameters={"build": build, "embedding_size": str(hidden)},
        **shared,
    )


def _parity_statements(data: Path | None) -> list[str]:
    """Sixteen statements, short ones first among them; from the data set where it is given."""
    if data is None:
        return list(SAMPLE_STATEMENTS)
    statements = sorted(read_library(data).statements, key=len)
    spread = np.linspace(0, len(statements) - 1, 13).astype(int)
    return [*SAMPLE_STATEMENTS[:3], *(statements[i] for i in spread)]


def _packed(codes: Tensor, kept: Tensor) -> Tensor:
    """Each row's kept codes moved to its front, zeros behind them, [N, L] to [N, L]."""
    # Everything that is not kept goes to one more column, which is cut off. `add` on zeros, since several codes may
    # land there and a plain scatter leaves open which of them wins.
    places = torch.where(kept, kept.to(torch.int64).cumsum(dim=1) - 1, codes.shape[1])
    return F.pad(torch.zeros_like(codes), (0, 1)).scatter_add(1, places, codes)[:, :-1]


def _build(network: nn.Module) -> str:
    """An id of the weights, 16 hexadecimal digits; an index of premises is bound to it."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]
