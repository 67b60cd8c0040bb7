"""DeepMath premise selection (Irving et al., NIPS 2016): which statements help to prove a conjecture?

Two encoders of the same form and with separate weights read the conjecture and the premise; the concatenation of
their outputs goes through a fully connected layer with ReLU to one logit (section 4.1; the paper's two-class softmax
over (l0, l1) is the logistic of l1 - l0). Encoders are convolutional, recurrent, or recurrent over convolutional, and
read characters one-hot or words as learnt embeddings or as embeddings of their definitions (section 4.3).

The first predictor layer is linear in [conjecture; premise], so it is kept as its two halves: each `StatementEncoder`
ends in its half. `PremiseScorer` is what remains. The split is exact; `pairwise_logit` is the unsplit form.
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

from neurips16.training.data.deepmath.batches import Batch, Statements, TokenStore
from neurips16.training.data.deepmath.module import DeepMathData
from neurips16.training.data.deepmath.reader import Conjecture, normalise
from neurips16.training.data.deepmath.tokens import Tokenizer
from neurips16.training.optimisation import scheduled
from neurips16.training.system import System, SystemModule, load_module
from neurips16.training.systems.deepmath.sequence_encoders import (
    ConvolutionalEncoder,
    ConvolutionStack,
    RecurrentEncoder,
)

LEVELS = ("character", "word", "definition")
ENCODERS = ("cnn", "lstm", "gru", "cnn_lstm")
ENCODING_TOKENS = 65536  # padded tokens of one chunk when statements are only encoded: bounds the memory


def everything(store: TokenStore) -> Statements:
    """All statements of a store."""
    return Statements(store, np.arange(len(store)), ENCODING_TOKENS)


class StatementEncoder(nn.Module):
    """Token ids to a statement's half of the first predictor layer.

    Args:
        vocabulary_size: number of tokens, the unknown token 0 included.
        embedding: None for one-hot tokens (the character level), else a table [V, E] of word embeddings.
        body: the encoder over [N, C, T].
        hidden: D, the width of the first predictor layer.
        bias: whether this half carries that layer's bias.
        dropout: share of the encoding that training hides from the half.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding: nn.Embedding | None,
        body: nn.Module,
        hidden: int,
        *,
        bias: bool,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.embedding = embedding
        self.body = body
        self.dropout = nn.Dropout(dropout)
        self.predictor_half = nn.Linear(cast(int, body.out_features), hidden, bias=bias)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Token ids int64 [N, T], -1 in the padding, and lengths int64 [N] to float32 [N, D]."""
        return self.to_predictor(self.encode(tokens, lengths))

    def to_predictor(self, encodings: Tensor) -> Tensor:
        """Encodings [N, F] to their half of the first predictor layer, [N, D]."""
        return self.predictor_half(self.dropout(encodings))

    def encode(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """The statement's encoding before the predictor, float32 [N, F]."""
        inside = (tokens >= 0)[:, None, :]
        tokens = tokens.clamp(min=0)
        if self.embedding is None:
            classes = torch.arange(self.vocabulary_size, device=tokens.device)
            features = (tokens[:, :, None] == classes).to(torch.float32).transpose(1, 2)  # [N, V, T]
        else:
            features = self.embedding(tokens).transpose(1, 2)  # [N, E, T]
        return self.body(features * inside, lengths)


class PremiseScorer(nn.Module):
    """The predictor behind the split layer: ``w · relu(conjecture + premise) + b``."""

    def __init__(self, hidden: int):
        super().__init__()
        self.output = nn.Linear(hidden, 1)

    def forward(self, conjectures: Tensor, premises: Tensor) -> Tensor:
        """Halves of conjectures and premises, [..., D] each and broadcast, to logits [...]."""
        return self.output(F.relu(conjectures + premises)).squeeze(-1)


class DeepMath(SystemModule):
    """The whole network with its loss and its optimiser.

    Args:
        vocabulary: the tokens, whose ids are 1, 2, …; id 0 stands for every other token.
        level: "character", "word" (learnt embeddings) or "definition" (a word's embedding is the stage-1 encoding of
            the statement that defines it; a word without definition has a fixed pseudo-random vector).
        encoder: "cnn", "lstm", "gru" or "cnn_lstm".
        channels: of the convolutions; the published final network has (128, 512, 1024).
        strides: of the convolutions, (2, 2, 1) there.
        hidden: D, the width of the first predictor layer, and of a recurrent encoder.
        embedding_size: of word embeddings; for definitions it is that of the stage-1 encoding.
        max_length: characters (2048 in the paper) or words (500) that are read of a statement.
        dropout: share of a statement's encoding that training hides from the predictor.
        random_negative_weight: weight of the mean loss over random and mined negatives beside that over listed pairs.
        learning_rate: of Adam.
        warmup_steps: optimiser steps over which the learning rate rises linearly from zero.
        decay_steps: optimiser steps after which the learning rate has fallen to zero along half a cosine; 0: it stays.
        stage1_checkpoint: for "definition", the checkpoint of the character model that encodes the definitions; it is
            read once, when training starts.
        initial_checkpoint: start from the weights of this run, which may be narrower; see `start_from`.
        frozen_encoders: train the predictor alone, on encodings of all statements that are computed once.
    """

    system = "deepmath"

    def __init__(
        self,
        vocabulary: Sequence[str],
        level: str = "character",
        encoder: str = "cnn",
        channels: Sequence[int] = (128, 512, 1024),
        strides: Sequence[int] = (2, 2, 1),
        hidden: int = 1024,
        embedding_size: int = 256,
        max_length: int = 2048,
        dropout: float = 0.0,
        random_negative_weight: float = 1.0,
        learning_rate: float = 1e-3,
        warmup_steps: int = 0,
        decay_steps: int = 0,
        stage1_checkpoint: str | None = None,
        initial_checkpoint: str | None = None,
        frozen_encoders: bool = False,
    ):
        super().__init__()
        if level not in LEVELS:
            raise ValueError(f"level is one of {', '.join(LEVELS)}; got {level!r}")
        if encoder not in ENCODERS:
            raise ValueError(f"encoder is one of {', '.join(ENCODERS)}; got {encoder!r}")
        self.save_plain_hyperparameters()
        size = len(vocabulary) + 1
        # A table of definitions is one, fixed, for both towers; learnt embeddings are each tower's own.
        shared = nn.Embedding(size, embedding_size).requires_grad_(False) if level == "definition" else None
        towers = []
        for bias in (True, False):
            embedding = shared if level != "word" else nn.Embedding(size, embedding_size)
            in_channels = size if embedding is None else embedding_size
            body = self._body(in_channels)
            towers.append(StatementEncoder(size, embedding, body, hidden, bias=bias, dropout=dropout))
        self.conjecture_encoder, self.premise_encoder = towers
        self.scorer = PremiseScorer(hidden)
        self._frozen: dict[StatementEncoder, Tensor] = {}

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
        """At the start of training: take over an earlier run's weights; fill the table of definition embeddings."""
        h = self.hparams
        if stage != "fit":
            return
        if h.initial_checkpoint is not None:
            self.start_from(cast(DeepMath, load_module(h.initial_checkpoint, self.system)))
        if h.level != "definition":
            return
        if h.stage1_checkpoint is None:
            raise ValueError("level 'definition' needs --model.stage1_checkpoint, a trained character model")
        stage1 = cast(DeepMath, load_module(h.stage1_checkpoint, self.system))
        self.fill_definitions(stage1, self.trainer.datamodule.definitions)

    @torch.no_grad()
    def on_fit_start(self) -> None:
        """Compute the encodings that stay as they are."""
        if not self.hparams.frozen_encoders:
            return
        for tower in (self.conjecture_encoder, self.premise_encoder):
            tower.requires_grad_(False)
            tower.predictor_half.requires_grad_(True)
            self._frozen[tower] = self.encode(tower.encode, everything(self.trainer.datamodule.store))

    @torch.no_grad()
    def start_from(self, earlier: DeepMath) -> None:
        """Take over the weights of a network of the same form that is as wide as this one or narrower.

        Its channels and hidden units become the first ones here; the others keep their random weights, except that
        nothing is read from a hidden unit that is new. Where the encoders are frozen the predictor is a new one: it
        generalises better than one that was trained as long as they were.

        Raises:
            ValueError: the vocabularies differ, or a layer of the earlier network is wider or missing.
        """
        if earlier.hparams.vocabulary != self.hparams.vocabulary:
            raise ValueError("the network to start from has another vocabulary; train on the data it was made from")
        own, theirs = self.state_dict(), earlier.state_dict()
        for name, weight in own.items():
            source = theirs.get(name)
            if source is None or any(a > b for a, b in zip(source.shape, weight.shape, strict=True)):
                shape = "no such layer" if source is None else f"shape {list(source.shape)}"
                raise ValueError(f"cannot start {name} of shape {list(weight.shape)} from an earlier run with {shape}")
        self.scorer.output.weight.zero_()
        for name, weight in own.items():
            weight[tuple(slice(size) for size in theirs[name].shape)] = theirs[name]
        if self.hparams.frozen_encoders:
            for layer in (
                self.conjecture_encoder.predictor_half,
                self.premise_encoder.predictor_half,
                self.scorer.output,
            ):
                layer.reset_parameters()

    def fill_definitions(self, stage1: DeepMath, definitions: dict[str, str]) -> None:
        """Set the word table from the defining statements (word to statement) and their stage-1 encodings.

        One level only: the words of a definition are read as characters. A word without definition gets a
        pseudo-random vector of the same scale, seeded by the word itself.
        """
        assert self.premise_encoder.embedding is not None  # the level is not of characters
        table = self.premise_encoder.embedding.weight
        words = [word for word in self.hparams.vocabulary if word in definitions]
        encoded = stage1.encode_texts([definitions[word] for word in words], stage1.premise_encoder.encode)
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

    def encode(self, encoder: Any, group: Statements) -> Tensor:
        """The statements of a group, in their order, [S, D]; ``encoder`` is a tower, or a tower's ``encode``."""
        places, parts = [], []
        for positions, tokens, lengths in group.chunks():
            places.append(torch.from_numpy(positions))
            parts.append(encoder(tokens.to(self.device), lengths.to(self.device)))
        if not parts:
            return torch.empty(0, self.hparams.hidden, device=self.device)
        return torch.cat(parts)[torch.cat(places).argsort().to(self.device)]

    def halves(self, tower: StatementEncoder, group: Statements) -> Tensor:
        """The predictor halves of the statements of a group, [S, D]; of frozen encodings where training made them."""
        if tower in self._frozen:
            return tower.to_predictor(self._frozen[tower][torch.from_numpy(group.indices).to(self.device)])
        return self.encode(tower, group)

    @torch.no_grad()
    def encode_texts(self, lines: Sequence[str], encoder: Any) -> Tensor:
        """Statements as written to [S, D]; ``encoder`` is one of the two towers, or a tower's ``encode``."""
        tokenizer = Tokenizer(self.hparams.vocabulary, "character" if self.hparams.level == "character" else "word")
        store = TokenStore((tokenizer(normalise(line)) for line in lines), self.hparams.max_length)
        return self.encode(encoder, everything(store))

    # -- training

    def logits(self, batch: Batch) -> Tensor:
        """The logit of each pair of the batch, [M]."""
        conjectures = self.halves(self.conjecture_encoder, batch.conjectures)  # [C, D]
        premises = self.halves(self.premise_encoder, batch.premises)  # [P, D]
        # index_select: its backward adds rows up in order, much faster than that of advanced indexing
        return self.scorer(conjectures.index_select(0, batch.pairs[:, 0]), premises.index_select(0, batch.pairs[:, 1]))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Logistic loss, the mean over listed pairs plus the weighted mean over other negatives."""
        logits = self.logits(batch)
        losses = F.binary_cross_entropy_with_logits(logits, batch.useful, reduction="none")
        listed = losses[batch.listed].mean()
        others = losses[~batch.listed].sum() / (~batch.listed).sum().clamp(min=1)
        self.log_dict({"train_listed_loss": listed, "train_random_loss": others}, prog_bar=True)
        return listed + self.hparams.random_negative_weight * others

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Loss and accuracy over listed pairs; every pair has the same weight."""
        logits, useful = self.logits(batch), batch.useful
        size = len(useful)
        accuracy = ((logits > 0) == (useful > 0)).float().mean()
        loss = F.binary_cross_entropy_with_logits(logits, useful)
        self.log_dict({"val_pair_accuracy": accuracy, "val_loss": loss}, prog_bar=True, batch_size=size)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Adam, with a linear rise and a cosine fall of the learning rate where they are asked for."""
        h = self.hparams
        optimizer = torch.optim.Adam((p for p in self.parameters() if p.requires_grad), lr=h.learning_rate)
        return scheduled(optimizer, warmup_steps=h.warmup_steps, decay_steps=h.decay_steps)

    # -- hard negative mining

    @torch.no_grad()
    def mine(
        self, store: TokenStore, conjectures: Sequence[Conjecture], *, pool: int, keep: int, seed: int
    ) -> dict[int, np.ndarray]:
        """The premises that are wrongly ranked highest: ``keep`` of a random ``pool``, for each conjecture.

        Only statements before the conjecture are drawn, never its useful premises.

        Returns:
            statement of the conjecture -> int32 [at most keep], statements to train on as negatives.
        """
        rng = np.random.default_rng(seed)
        known = np.unique(np.concatenate([np.concatenate([c.useful, c.useless]) for c in conjectures]))
        premises = self.halves(self.premise_encoder, Statements(store, known, ENCODING_TOKENS))
        statements = np.array([c.statement for c in conjectures])
        anchors = self.halves(self.conjecture_encoder, Statements(store, statements, ENCODING_TOKENS))
        mined = {}
        for anchor, conjecture in zip(anchors, conjectures, strict=True):
            earlier = int(np.searchsorted(known, conjecture.statement))
            if earlier == 0:
                continue
            rows = np.unique(rng.integers(earlier, size=pool))
            rows = rows[~np.isin(known[rows], conjecture.useful)]
            if len(rows):
                best = self.scorer(anchor, premises[rows]).topk(min(keep, len(rows))).indices.numpy()
                mined[conjecture.statement] = known[rows[best]].astype(np.int32)
        return mined


SYSTEM = System(
    name="deepmath",
    module=DeepMath,
    data=DeepMathData,
    links=(("vocabulary", "vocabulary"), ("level", "level"), ("max_length", "max_length")),
)
