"""DeepMath's data for Lightning: the vocabulary, and batches that continue where a stopped run left off."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import lightning
import numpy as np
from torch.utils.data import DataLoader, IterableDataset

from neurips16.training.data.deepmath.batches import Batch, StatementStore, TokenStore, log_chances, make_batch
from neurips16.training.data.deepmath.features import FeatureRows, FeatureStore, StatementBuckets
from neurips16.training.data.deepmath.reader import (
    Conjecture,
    Library,
    normalise,
    read_definitions,
    read_library,
    read_proofs,
    split_of,
    with_proofs,
)
from neurips16.training.data.deepmath.tokens import Tokenizer, character_vocabulary, word_vocabulary
from neurips16.training.data.deepmath.usage import Usage
from neurips16.training.data.deepmath.words import word_hashes
from neurips16.training.resume import batches_left


class DeepMathData(lightning.LightningDataModule):
    """Premise selection in the public layout of the Mizar40 data set.

    Args:
        folder: holds ``nndata`` and ``mizar40``; see `training/data/deepmath/reader.py`.
        level: how statements are read: "features" (bags of words, endings and bigrams), "character", "word" or
            "definition".
        max_length: characters or words that are read of a statement.
        min_word_count: at the levels of words, a word that occurs less often in the training statements is unknown.
        conjectures_per_batch: C, drawn at random.
        random_premises: statements of the library that are drawn for each batch, beside the listed ones.
        mining_start: epoch from which hard negatives are mined before every epoch; negative: never.
        mining_pool: statements that are ranked for each conjecture, drawn at random from those before it.
        mining_keep: how many of the highest ranked are negatives for certain.
        max_tokens_per_chunk: padded tokens that go through an encoder at a time; bounds the memory.
        from_proofs: a file of `neurips16 prove --log`: what its proofs use is useful, too, and what they prove is a
            conjecture; proofs of the validation and test splits are left out.
        limit: train on so many conjectures only; 0 takes all.
        seed: of the order of the batches and of the random premises.
    """

    def __init__(
        self,
        folder: str,
        level: str = "character",
        max_length: int = 2048,
        min_word_count: int = 1,
        conjectures_per_batch: int = 64,
        random_premises: int = 256,
        mining_start: int = -1,
        mining_pool: int = 1024,
        mining_keep: int = 4,
        max_tokens_per_chunk: int = 32768,
        from_proofs: str = "",
        limit: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        self.folder, self.level, self.max_length, self.min_word_count = folder, level, max_length, min_word_count
        self.conjectures_per_batch, self.random_premises = conjectures_per_batch, random_premises
        self.max_tokens_per_chunk = max_tokens_per_chunk
        self.mining_start, self.mining_pool, self.mining_keep = mining_start, mining_pool, mining_keep
        self.from_proofs, self.limit, self.seed = from_proofs, limit, seed
        self.mined: dict[int, np.ndarray] = {}

    @cached_property
    def library(self) -> Library:
        """The data set, read when it is first needed."""
        library = read_library(self.folder)
        if not self.from_proofs:
            return library
        proofs = read_proofs(self.from_proofs, library)
        return with_proofs(library, (proof for proof in proofs if split_of(proof.name) == "train"))

    @cached_property
    def texts(self) -> list[str]:
        """What the models read of each statement."""
        return [normalise(statement) for statement in self.library.statements]

    @cached_property
    def seen(self) -> np.ndarray:
        """The statements that training sees: conjectures of the training split, and the premises that they list."""
        train = self.conjectures("train")
        return np.unique(np.concatenate([[c.statement, *c.useful, *c.useless] for c in train]))

    @cached_property
    def vocabulary(self) -> list[str]:
        """The tokens of the statements that training sees; none at the level of features."""
        if self.level == "features":
            return []
        texts = (self.texts[i] for i in self.seen)
        return character_vocabulary(texts) if self.level == "character" else word_vocabulary(texts, self.min_word_count)

    @cached_property
    def buckets(self) -> StatementBuckets:
        """The hashed features of all statements."""
        return StatementBuckets([word_hashes(text) for text in self.texts], self.max_length)

    @cached_property
    def features(self) -> FeatureRows:
        """The features that have an embedding."""
        return self.buckets.rows(self.seen)

    @cached_property
    def feature_count(self) -> int:
        """How many features have an embedding; 0 where statements are sequences."""
        return len(self.features.idf) - 1 if self.level == "features" else 0

    @cached_property
    def usage(self) -> Usage:
        """How often the training split lists each statement."""
        return Usage(self.buckets.keys, self.conjectures("train"))

    @cached_property
    def remembered(self) -> int:
        """How many statements a model remembers the usage of."""
        return len(self.usage.table.prints) if self.level == "features" else 0

    @cached_property
    def store(self) -> StatementStore:
        """All statements, as an encoder reads them."""
        if self.level == "features":
            return FeatureStore(self.buckets.matrix(self.features), self.buckets.keys)
        tokenizer = Tokenizer(self.vocabulary, self.level)
        return TokenStore((tokenizer(text) for text in self.texts), self.max_length)

    @cached_property
    def log_chances(self) -> np.ndarray:
        """The logarithm of each statement's chance of being among a batch's premises, float32 [S]."""
        train = self.conjectures("train")
        listed = np.concatenate([np.concatenate([c.useful, c.useless]) for c in train])
        shares = np.bincount(listed, minlength=len(self.texts)) / len(train)
        return log_chances(shares, self.conjectures_per_batch, self.random_premises, len(self.texts))

    @cached_property
    def definitions(self) -> dict[str, str]:
        """The defining statement of each symbol that has one."""
        return read_definitions(self.folder, self.library)

    def conjectures(self, split: str) -> list[Conjecture]:
        """The conjectures of a split, at most ``limit`` of them."""
        chosen = self.library.select(split)
        return chosen[: self.limit] if self.limit else chosen

    def batch(self, conjectures: list[Conjecture], rng: np.random.Generator) -> Batch:
        """Conjectures with their listed premises, random ones, and mined ones where there are any."""
        size = min(self.random_premises, len(self.texts))
        return make_batch(
            conjectures,
            self.store,
            random=rng.choice(len(self.texts), size, replace=False),
            mined=self.mined,
            log_chances=self.log_chances,
            usage=self.usage if self.remembered else None,
            max_tokens=self.max_tokens_per_chunk,
        )

    def renew_hard_negatives(self, epoch: int) -> None:
        """Let the model as it is now find the hard negatives of this epoch, where the settings ask for them."""
        if 0 <= self.mining_start <= epoch:
            assert self.trainer is not None  # it asks for the batches
            model: Any = self.trainer.lightning_module
            train = self.conjectures("train")
            self.mined = model.mine(self.store, train, pool=self.mining_pool, keep=self.mining_keep, seed=epoch)

    def train_dataloader(self) -> DataLoader:
        """Batches of one epoch, from the trainer's place in it."""
        return DataLoader(_Epoch(self), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        """The validation split, with the same random premises each time."""
        conjectures, size = self.conjectures("validation"), self.conjectures_per_batch
        rng = np.random.default_rng(0)
        batches = [self.batch(conjectures[i : i + size], rng) for i in range(0, len(conjectures), size)]
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]  # a list will do for a data set


class _Epoch(IterableDataset):
    """The batches of the current epoch. Their order follows from (seed, epoch), so a resumed run skips those done."""

    def __init__(self, data: DeepMathData):
        self.data = data

    def __iter__(self) -> Iterator[Batch]:
        data = self.data
        assert data.trainer is not None  # it asks for the batches
        epoch = data.trainer.current_epoch
        data.renew_hard_negatives(epoch)
        conjectures, size = data.conjectures("train"), data.conjectures_per_batch
        order = np.random.default_rng([data.seed, epoch]).permutation(len(conjectures))
        starts = range(0, len(order), size)
        for number in batches_left(data.trainer, len(starts)):
            chosen = [conjectures[i] for i in order[starts[number] : starts[number] + size]]
            yield data.batch(chosen, np.random.default_rng([data.seed, epoch, number]))
