"""DeepMath premise selection (Irving et al., NIPS 2016): which statements help to prove a conjecture?

An encoder reads a statement, a tower makes an embedding of the encoding, and the product of a conjecture's and a
premise's embedding is the score. So a premise is encoded once, and a library is ranked by one matrix product. The
paper's encoders are convolutional, recurrent, or recurrent over convolutional, read characters one-hot or words as
learnt embeddings or as embeddings of their definitions (section 4.3), and differ between the two sides. The level
"features" is ours: one table of embeddings of words, endings and word bigrams for both sides.

Differences from the paper: the product in place of a classifier over the concatenation, and the ranking loss over the
whole library in place of the logistic loss over pairs, beside which the latter stays for the listed pairs.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional as F

from neurips16.training.data.deepmath.batches import Batch, Statements, StatementStore, TokenStore
from neurips16.training.data.deepmath.features import FeatureStore, StatementBuckets
from neurips16.training.data.deepmath.module import DeepMathData
from neurips16.training.data.deepmath.reader import Conjecture, normalise
from neurips16.training.data.deepmath.tokens import Tokenizer
from neurips16.training.data.deepmath.words import word_hashes
from neurips16.training.optimisation import scheduled
from neurips16.training.system import System, SystemModule, load_module
from neurips16.training.systems.deepmath.lazy_adam import LazyAdamW
from neurips16.training.systems.deepmath.ranking_loss import ranking_loss
from neurips16.training.systems.deepmath.sequence_encoders import (
    ConvolutionalEncoder,
    ConvolutionStack,
    RecurrentEncoder,
    SequenceEncoder,
)
from neurips16.training.systems.deepmath.tower import Towers
from neurips16.training.systems.deepmath.usage_memory import UsageMemory, usage_features
from neurips16.training.systems.deepmath.word_features import WordFeatures

LEVELS = ("features", "character", "word", "definition")
ENCODERS = ("cnn", "lstm", "gru", "cnn_lstm")
SIDES = ("conjecture", "premise")
ENCODING_TOKENS = 65536  # padded tokens of one chunk when statements are only encoded: bounds the memory
TABLE_BETAS = (0.9, 0.99)


class DeepMath(SystemModule):
    """The whole network with its loss and its optimiser.

    Args:
        vocabulary: the tokens, whose ids are 1, 2, …; id 0 stands for every other token. Empty for features.
        feature_count: features that have a row in the table; 0 where statements are sequences.
        remembered: statements whose usage in training is remembered, and an input of the premise's tower; 0: none.
        level: "features", "character", "word" (learnt embeddings) or "definition" (a word's embedding is the stage-1
            encoding of the statement that defines it; a word without definition has a fixed pseudo-random vector).
        encoder: of sequences: "cnn", "lstm", "gru" or "cnn_lstm".
        channels: of the convolutions; the published final network has (128, 512, 1024).
        strides: of the convolutions, (2, 2, 1) there.
        hidden: units of a recurrent encoder and of the towers' hidden layer.
        rank_size: length of the vectors whose product ranks.
        pair_size: length of the vectors whose product is the logit of a listed pair.
        embedding_size: of features and words; for definitions it is that of the stage-1 encoding.
        max_length: characters (2048 in the paper) or words (500) that are read of a statement.
        dropout: share of the towers' hidden layer that training hides.
        feature_dropout: share of a statement's features that training hides.
        pair_weight: weight of the logistic loss over listed pairs beside the ranking loss.
        learning_rate: of AdamW.
        table_learning_rate: of the table of features.
        weight_decay: of AdamW, not of the table.
        gradient_clip: largest norm of the gradient, the table's left out; 0: any.
        warmup_steps: optimiser steps over which the learning rates rise linearly from zero.
        decay_steps: optimiser steps after which they have fallen to zero along half a cosine; 0: they stay.
        stage1_checkpoint: for "definition", the checkpoint of the character model that encodes the definitions; it is
            read once, when training starts.
    """

    system = "deepmath"

    def __init__(
        self,
        vocabulary: Sequence[str],
        feature_count: int = 0,
        remembered: int = 0,
        level: str = "character",
        encoder: str = "cnn",
        channels: Sequence[int] = (128, 512, 1024),
        strides: Sequence[int] = (2, 2, 1),
        hidden: int = 1024,
        rank_size: int = 256,
        pair_size: int = 128,
        embedding_size: int = 256,
        max_length: int = 2048,
        dropout: float = 0.0,
        feature_dropout: float = 0.0,
        pair_weight: float = 1.0,
        learning_rate: float = 1e-3,
        table_learning_rate: float = 6e-3,
        weight_decay: float = 0.0,
        gradient_clip: float = 0.0,
        warmup_steps: int = 0,
        decay_steps: int = 0,
        stage1_checkpoint: str | None = None,
    ):
        super().__init__()
        if level not in LEVELS:
            raise ValueError(f"level is one of {', '.join(LEVELS)}; got {level!r}")
        if encoder not in ENCODERS:
            raise ValueError(f"encoder is one of {', '.join(ENCODERS)}; got {encoder!r}")
        self.save_plain_hyperparameters()
        if level == "features":
            shared = WordFeatures(feature_count, embedding_size, max_length, feature_dropout)
            self.encoders = nn.ModuleDict(dict.fromkeys(SIDES, shared))
        else:
            size = len(vocabulary) + 1
            # A table of definitions is one, fixed, for both sides; learnt embeddings are each side's own.
            fixed = nn.Embedding(size, embedding_size).requires_grad_(False) if level == "definition" else None
            self.encoders = nn.ModuleDict()
            for side in SIDES:
                embedding = nn.Embedding(size, embedding_size) if level == "word" else fixed
                body = self._body(size if embedding is None else embedding_size)
                self.encoders[side] = SequenceEncoder(size, embedding, body)
        self.memory = UsageMemory(remembered) if remembered else None
        encoding_size = cast(int, self.encoders["premise"].out_features)
        self.towers = Towers(encoding_size, hidden, rank_size, pair_size, dropout, usage=bool(remembered))

    def _body(self, in_channels: int) -> nn.Module:
        h = self.hparams
        if h.encoder == "cnn":
            return ConvolutionalEncoder(in_channels, h.channels, h.strides)
        if h.encoder == "cnn_lstm":
            return RecurrentEncoder(
                h.channels[-1], h.hidden, "lstm", ConvolutionStack(in_channels, h.channels, h.strides)
            )
        return RecurrentEncoder(in_channels, h.hidden, h.encoder)

    def setup(self, stage: str) -> None:
        """At the start of training: take over the features, or fill the table of definition embeddings."""
        h = self.hparams
        if stage != "fit":
            return
        if h.level == "features":
            self.features.fill(self.trainer.datamodule.features)
        if self.memory is not None:
            self.memory.fill(self.trainer.datamodule.usage.table)
        if h.level == "definition":
            if h.stage1_checkpoint is None:
                raise ValueError("level 'definition' needs --model.stage1_checkpoint, a trained character model")
            stage1 = cast(DeepMath, load_module(h.stage1_checkpoint, self.system))
            self.fill_definitions(stage1, self.trainer.datamodule.definitions)

    @property
    def features(self) -> WordFeatures:
        """The encoder of a model at the level of features."""
        return cast(WordFeatures, self.encoders["premise"])

    def fill_definitions(self, stage1: DeepMath, definitions: dict[str, str]) -> None:
        """Set the word table from the defining statements (word to statement) and their stage-1 encodings.

        One level only: the words of a definition are read as characters. A word without definition gets a
        pseudo-random vector of the same scale, seeded by the word itself.
        """
        embedding = cast(SequenceEncoder, self.encoders["premise"]).embedding
        assert embedding is not None  # the level is not of characters
        table = embedding.weight
        words = [word for word in self.hparams.vocabulary if word in definitions]
        store = stage1.read([definitions[word] for word in words])
        with torch.no_grad():
            encoded = stage1.encode("premise", Statements(store, np.arange(len(store)), ENCODING_TOKENS))
        if encoded.shape[1] != table.shape[1]:
            raise ValueError(
                f"embedding_size is {table.shape[1]}, but stage 1 encodes to {encoded.shape[1]}: set it so"
            )
        scale = encoded.std() if len(words) else torch.tensor(1.0)
        known = dict(zip(words, encoded, strict=True))
        with torch.no_grad():
            for i, word in enumerate(["", *self.hparams.vocabulary]):
                seeded = torch.Generator().manual_seed(zlib.crc32(word.encode()))
                table[i] = known.get(word, torch.randn(table.shape[1], generator=seeded) * scale)

    # -- encoding

    def read(self, lines: Sequence[str]) -> StatementStore:
        """Statements as written, as the encoders read them."""
        h = self.hparams
        texts = [normalise(line) for line in lines]
        if h.level == "features":
            buckets = StatementBuckets([word_hashes(text) for text in texts], h.max_length)
            return FeatureStore(buckets.matrix(self.features.known()), buckets.keys)
        tokenizer = Tokenizer(h.vocabulary, "character" if h.level == "character" else "word")
        return TokenStore((tokenizer(text) for text in texts), h.max_length)

    def encode(self, side: str, group: Statements) -> Tensor:
        """The encodings of a group's statements, in their order, [S, E]."""
        places, parts = [], []
        for positions, inputs in group.chunks():
            places.append(torch.from_numpy(positions))
            parts.append(self.encoders[side](*(one.to(self.device) for one in inputs)))
        if not parts:
            return torch.empty(0, cast(int, self.encoders[side].out_features), device=self.device)
        return torch.cat(parts)[torch.cat(places).argsort().to(self.device)]

    def embed(self, side: str, group: Statements, usage: Tensor | None = None) -> Tensor:
        """The embeddings of a group's statements as conjectures or as premises, [S, D].

        Args:
            side: "conjecture" or "premise".
            group: the statements.
            usage: counts int64 [S, 2] in place of those that the model remembers.
        """
        encodings = self.encode(side, group)
        if side == "conjecture":
            return self.towers.conjectures(encodings)
        if self.memory is None:
            return self.towers.premises(encodings)
        if usage is None:
            usage = self.memory(torch.from_numpy(cast(FeatureStore, group.store).keys[group.indices]).to(self.device))
        return self.towers.premises(encodings, usage_features(usage))

    @torch.no_grad()
    def embed_texts(self, side: str, lines: Sequence[str]) -> Tensor:
        """Statements as written to embeddings [S, D]."""
        return self.embed(side, Statements(self.read(lines), np.arange(len(lines)), ENCODING_TOKENS))

    # -- training

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The ranking loss, the logistic loss over listed pairs, and the logit of each of those [M]."""
        rank_size = self.towers.rank_size
        conjectures = self.embed("conjecture", batch.conjectures)
        premises = self.embed("premise", batch.premises, batch.usage)
        scores = conjectures[:, :rank_size] @ premises[:, :rank_size].T
        # index_select: its backward adds rows up in order, much faster than that of advanced indexing
        left = conjectures[:, rank_size:].index_select(0, batch.pairs[:, 0])
        right = premises[:, rank_size:].index_select(0, batch.pairs[:, 1])
        logits = (left * right).sum(dim=1)
        ranking = ranking_loss(scores, batch.needed, batch.earlier, batch.log_chance)
        return ranking, F.binary_cross_entropy_with_logits(logits, batch.useful), logits

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The ranking loss plus the weighted logistic loss over listed pairs."""
        ranking, listed, _ = self.losses(batch)
        self.log_dict({"train_ranking_loss": ranking, "train_listed_loss": listed}, prog_bar=True)
        return ranking + self.hparams.pair_weight * listed

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Both losses, and the accuracy over listed pairs; every conjecture and every pair has the same weight."""
        ranking, listed, logits = self.losses(batch)
        accuracy = ((logits > 0) == (batch.useful > 0)).float().mean()
        self.log("val_ranking_loss", ranking, prog_bar=True, batch_size=len(batch.conjectures.indices))
        self.log_dict({"val_pair_accuracy": accuracy, "val_loss": listed}, prog_bar=True, batch_size=len(logits))

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Clip the gradient of what is not a table of features."""
        if self.hparams.gradient_clip:
            dense = [p for p in self.parameters() if p.grad is not None and not p.grad.is_sparse]
            nn.utils.clip_grad_norm_(dense, self.hparams.gradient_clip)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, lazy for the table of features, with a linear rise and a cosine fall where they are asked for."""
        h = self.hparams
        tables = [self.features.table] if h.level == "features" else []
        rest = [p for p in self.parameters() if p.requires_grad and not any(p is table for table in tables)]
        groups: list[dict[str, Any]] = [{"params": rest, "lr": h.learning_rate, "weight_decay": h.weight_decay}]
        if tables:
            groups.append({"params": tables, "lr": h.table_learning_rate, "betas": TABLE_BETAS})
        return scheduled(LazyAdamW(groups), warmup_steps=h.warmup_steps, decay_steps=h.decay_steps)

    # -- hard negative mining

    @torch.no_grad()
    def mine(
        self, store: StatementStore, conjectures: Sequence[Conjecture], *, pool: int, keep: int, seed: int
    ) -> dict[int, np.ndarray]:
        """The premises that are wrongly ranked highest: ``keep`` of a random ``pool``, for each conjecture.

        Only statements before the conjecture are drawn, never its useful premises.

        Returns:
            statement of the conjecture -> int32 [at most keep], statements to train on as negatives.
        """
        rng = np.random.default_rng(seed)
        rank_size = self.towers.rank_size
        known = np.unique(np.concatenate([np.concatenate([c.useful, c.useless]) for c in conjectures]))
        premises = self.embed("premise", Statements(store, known, ENCODING_TOKENS))[:, :rank_size]
        statements = np.array([c.statement for c in conjectures])
        anchors = self.embed("conjecture", Statements(store, statements, ENCODING_TOKENS))[:, :rank_size]
        mined = {}
        for anchor, conjecture in zip(anchors, conjectures, strict=True):
            earlier = int(np.searchsorted(known, conjecture.statement))
            if earlier == 0:
                continue
            rows = np.unique(rng.integers(earlier, size=pool))
            rows = rows[~np.isin(known[rows], conjecture.useful)]
            if len(rows):
                best = (premises[rows] @ anchor).topk(min(keep, len(rows))).indices.cpu().numpy()
                mined[conjecture.statement] = known[rows[best]].astype(np.int32)
        return mined


SYSTEM = System(
    name="deepmath",
    module=DeepMath,
    data=DeepMathData,
    links=(
        ("vocabulary", "vocabulary"),
        ("feature_count", "feature_count"),
        ("remembered", "remembered"),
        ("level", "level"),
        ("max_length", "max_length"),
    ),
)
