"""DeepMath as two ONNX models: the encoder of statements, and the ranker over their embeddings.

The encoder answers with a statement's embedding as a premise and as a conjecture: both sides share the table of
features, which so is stored once. A score is the product of two embeddings, so a premise is encoded once, however many
conjectures it is ranked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurips16.export.registry import ExportedModel
from neurips16.export.spec import MetricGate, ModelSpec, TensorSpec, Tolerance
from neurips16.export.systems.deepmath.inputs import text_batch, word_batch
from neurips16.export.systems.deepmath.readers import FormulaReader, WordReader
from neurips16.export.systems.deepmath.recurrence import with_recurrent_nodes
from neurips16.training.data.deepmath.features import LOW
from neurips16.training.data.deepmath.reader import read_library
from neurips16.training.system import CHECKPOINT_KEY, load_module, read_checkpoint
from neurips16.training.systems.deepmath.network import SIDES, DeepMath
from neurips16.training.systems.deepmath.usage_memory import usage_features

ENCODER, RANKER = "premise_encoder", "premise_ranker"
PAPER = "DeepMath - Deep Sequence Models for Premise Selection (Irving et al., NIPS 2016), section 4"
MAX_BATCH_SIZE = 64
GATES = (
    MetricGate("pair_accuracy", 0.002, "weights rounded to FP16 may move a few pairs across zero: two in a thousand"),
    MetricGate(
        "amrr", 0.0005, "the same may move a premise by a few ranks in a library of 77,212", lower_is_better=True
    ),
    MetricGate("recall_at_64", 0.002, "the same may move two premises in a thousand across rank 64"),
)
SUMS = Tolerance(1e-4, 1e-4, "FP32 sums of up to 640 products in another order than torch's; values are of order 10")
PRODUCTS = Tolerance(1e-4, 1e-3, "FP32 sums of 257 products of numbers of order 10, in another order than torch's")

# Ours, for an export without the data set: short and long, wrapped and bare.
SAMPLE_STATEMENTS = (
    "fof(sum_of_evens, axiom, ! [A, B] : ((v1_even(A) & v1_even(B)) => v1_even(k1_sum(A, B)))).",
    "! [A] : (m1_group(A) => ! [B] : (m1_element(B, A) => k2_times(A, B, k3_inverse(A, B)) = k4_unit(A)))",
    "p",
    "fof(chain, axiom, " + " & ".join(f"(r1_less(X{i}, X{i + 1}) | ~ v2_real(X{i}))" for i in range(40)) + ").",
)


class FeatureModel(nn.Module):
    """Hashes of words to embeddings, by the table of features that both sides share.

    An embedding is as long as the share of the statement's symbols that the model knows: it scores a statement of
    which it knows nothing with 0, and leaves that to whatever else the ranking adds.
    """

    def __init__(self, network: DeepMath):
        super().__init__()
        self.features, self.memory, self.towers = network.features, network.memory, network.towers

    def forward(self, words: Tensor) -> dict[str, Tensor]:
        """``words`` int64 [N, L] to two embeddings float32 [N, D]."""
        encodings, share = self.features.from_words(words), self.features.known_share(words)
        usage = None
        if self.memory is not None:
            usage = usage_features(self.memory(self.memory.keys(words[:, : self.features.max_words] % LOW)))
        return {
            "premise_embedding": self.towers.premises(encodings, usage) * share,
            "conjecture_embedding": self.towers.conjectures(encodings) * share,
        }


class SequenceModel(nn.Module):
    """Statements to embeddings, by an encoder of sequences for each side."""

    def __init__(self, network: DeepMath, reader: FormulaReader | WordReader):
        super().__init__()
        self.reader, self.encoders, self.towers = reader, with_recurrent_nodes(network.encoders), network.towers

    def _embed(self, statements: Tensor) -> dict[str, Tensor]:
        tokens, lengths = self.reader(statements)
        conjectures, premises = (self.encoders[side](tokens, lengths) for side in SIDES)
        return {
            "premise_embedding": self.towers.premises(premises),
            "conjecture_embedding": self.towers.conjectures(conjectures),
        }


class TextModel(SequenceModel):
    """A `SequenceModel` that reads characters."""

    def forward(self, text: Tensor) -> dict[str, Tensor]:
        """``text`` uint8 [N, L] to two embeddings float32 [N, D]."""
        return self._embed(text)


class WordModel(SequenceModel):
    """A `SequenceModel` that reads words."""

    def forward(self, words: Tensor) -> dict[str, Tensor]:
        """``words`` int64 [N, L] to two embeddings float32 [N, D]."""
        return self._embed(words)


class RankerModel(nn.Module):
    """Products of embeddings."""

    def __init__(self, rank_size: int):
        super().__init__()
        self.rank_size = rank_size

    def forward(self, conjecture: Tensor, premises: Tensor) -> dict[str, Tensor]:
        """``conjecture`` [N, D] and ``premises`` [N, P, D] to ``scores`` and ``logits`` [N, P]."""
        products = conjecture[:, None, :] * premises
        return {
            "scores": products[:, :, : self.rank_size].sum(dim=2),
            "logits": products[:, :, self.rank_size :].sum(dim=2),
        }


def models(checkpoint: Path, data: Path | None) -> list[ExportedModel]:
    """The two models of a checkpoint, in the order in which to publish them.

    Args:
        checkpoint: of `neurips16 train deepmath`, of any level and encoder.
        data: the data set's folder, whose statements the parity check reads; None: some statements of ours.

    Raises:
        CheckpointError: the file is no checkpoint of deepmath.
    """
    network = load_module(checkpoint, "deepmath")
    assert isinstance(network, DeepMath)
    h = network.hparams
    about = read_checkpoint(checkpoint)[CHECKPOINT_KEY]
    shared = {"system": "deepmath", "paper": PAPER, "metrics": GATES, "provenance": dict(about)}
    build = _build(network)
    module: nn.Module
    if h.level == "character":
        module, name, pack = TextModel(network, FormulaReader(h.vocabulary, h.max_length)), "text", text_batch
    elif h.level == "features":
        module, name, pack = FeatureModel(network), "words", word_batch
    else:
        module, name, pack = WordModel(network, WordReader(h.vocabulary, h.max_length)), "words", word_batch
    module.eval()
    lines = _parity_statements(data)
    cases = [{name: pack(lines[:1])}, {name: pack(lines[1:4])}, {name: pack(lines)}]
    with torch.no_grad():
        embeddings = module(torch.from_numpy(pack(lines)))
    encoder = ExportedModel(
        _encoder_spec(network, build, shared), module, {name: torch.from_numpy(pack(lines[1:4]))}, cases, True
    )
    conjectures, premises = embeddings["conjecture_embedding"], embeddings["premise_embedding"]
    ranker_cases = [
        {
            "conjecture": conjectures[:c].numpy(),
            "premises": np.ascontiguousarray(premises[None, :p].expand(c, -1, -1).numpy()),
        }
        for c, p in ((1, 4), (3, 2))
    ]
    ranker = ExportedModel(
        _ranker_spec(network, build, shared),
        RankerModel(network.towers.rank_size).eval(),
        {k: torch.from_numpy(v) for k, v in ranker_cases[1].items()},
        ranker_cases,
    )
    return [encoder, ranker]


def _encoder_spec(network: DeepMath, build: str, shared: Mapping[str, Any]) -> ModelSpec:
    h, towers = network.hparams, network.towers
    facts = {
        "max_length": str(h.max_length),
        "embedding_size": str(towers.size),
        "rank_size": str(towers.rank_size),
        "build": build,
    }
    if h.level == "features":
        facts["known_share_at"] = str(towers.rank_size - 1)
    if h.level == "character":
        facts["alphabet"] = "".join(h.vocabulary)
        statements = TensorSpec(
            "text",
            "UINT8",
            ("N", "L"),
            "ASCII bytes of `fof(name, role, formula).` or of a bare formula, zeros behind the end; white space "
            "does not count, and characters of the formula beyond max_length are not read",
        )
    else:
        statements = TensorSpec(
            "words",
            "INT64",
            ("N", "L"),
            "a hash of each word of the formula, zeros behind the end (docs/words.md has the rule); words "
            "beyond max_length are not read",
        )
    share = ""
    if "known_share_at" in facts:
        share = f"; number {facts['known_share_at']} is the share of the statement's symbols that training saw"
    what = "numbers whose product with the other side's ranks, then those whose product is the logit of a listed pair"
    return ModelSpec(
        name=ENCODER,
        summary="Encodes statements, as premises and as conjectures.",
        inputs=(statements,),
        outputs=(
            TensorSpec("premise_embedding", "FP32", ("N", towers.size), f"{facts['rank_size']} {what}", tolerance=SUMS),
            TensorSpec(
                "conjecture_embedding", "FP32", ("N", towers.size), f"as premise_embedding{share}", tolerance=SUMS
            ),
        ),
        max_batch_size=MAX_BATCH_SIZE,
        parameters=facts,
        **shared,
    )


def _ranker_spec(network: DeepMath, build: str, shared: Mapping[str, Any]) -> ModelSpec:
    size = network.towers.size
    return ModelSpec(
        name=RANKER,
        summary="Scores how useful encoded premises are to prove encoded conjectures.",
        inputs=(
            TensorSpec("conjecture", "FP32", ("N", size), f"conjecture_embedding of {ENCODER}"),
            TensorSpec("premises", "FP32", ("N", "P", size), f"premise_embedding of {ENCODER}"),
        ),
        outputs=(
            TensorSpec(
                "scores", "FP32", ("N", "P"), "by which a library is ranked: higher is first", tolerance=PRODUCTS
            ),
            TensorSpec(
                "logits",
                "FP32",
                ("N", "P"),
                "of premises that look alike: higher is more likely useful, 0 is even",
                tolerance=PRODUCTS,
            ),
        ),
        max_batch_size=MAX_BATCH_SIZE,
        parameters={"build": build, "embedding_size": str(size), "rank_size": str(network.towers.rank_size)},
        **shared,
    )


def _parity_statements(data: Path | None) -> list[str]:
    """Sixteen statements, short ones first among them; from the data set where it is given."""
    if data is None:
        return list(SAMPLE_STATEMENTS)
    statements = sorted(read_library(data).statements, key=len)
    spread = np.linspace(0, len(statements) - 1, 13).astype(int)
    return [*SAMPLE_STATEMENTS[:3], *(statements[i] for i in spread)]


def _build(network: nn.Module) -> str:
    """An id of the weights, 16 hexadecimal digits; an index of premises is bound to it."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]
