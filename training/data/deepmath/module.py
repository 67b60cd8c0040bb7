"""DeepMath's data for Lightning: the vocabulary, and batches that continue where a stopped run left off."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import lightning
import numpy as np
from torch.utils.data import DataLoader, IterableDataset

from neurips16.training.data.deepmath.batches import Batch, TokenStore, make_batch, neighbour_batches
from neurips16.training.data.deepmath.reader import Conjecture, Library, normalise, read_definitions, read_library
from neurips16.training.data.deepmath.tokens import Tokenizer, character_vocabulary, word_vocabulary
from neurips16.training.resume import batches_left


class DeepMathData(lightning.LightningDataModule):
    """Premise selection in the public layout of the Mizar40 data set.

    Args:
        folder: holds ``nndata`` and ``mizar40``; see `training/data/deepmath/reader.py`.
        level: "character", "word" or "definition": what the vocabulary is made of.
        max_length: tokens that are kept of a statement.
        min_word_count: a word that occurs less often in the training statements is unknown.
        conjectures_per_batch: C.
        run_length: neighbours in library order that stay together in a batch.
        random_negatives: random premises that each conjecture gets as negatives.
        negatives_from: "batch" draws them from the premises of the batch's other conjectures, which the batch encodes
            anyway, but where premises that many conjectures use come up more often; "library" draws from all premises.
        mining_start: epoch from which hard negatives are mined before every epoch; negative: never.
        mining_pool: statements that are ranked for each conjecture, drawn at random from those before it.
        mining_keep: how many of the highest ranked become negatives.
        max_tokens_per_chunk: padded tokens that go through an encoder at a time; bounds the memory.
        limit: train on so many conjectures only; 0 takes all.
        seed: of the order of the batches and of the negatives.
    """

    def __init__(
        self,
        folder: str,
        level: str = "character",
        max_length: int = 2048,
        min_word_count: int = 1,
        conjectures_per_batch: int = 64,
        run_length: int = 8,
        random_negatives: int = 16,
        negatives_from: str = "batch",
        mining_start: int = -1,
        mining_pool: int = 1024,
        mining_keep: int = 4,
        max_tokens_per_chunk: int = 32768,
        limit: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        if negatives_from not in ("batch", "library"):
            raise ValueError(f"negatives_from is 'batch' or 'library', got {negatives_from!r}")
        self.negatives_from = negatives_from
        self.folder, self.level, self.max_length, self.min_word_count = folder, level, max_length, min_word_count
        self.conjectures_per_batch, self.run_length = conjectures_per_batch, run_length
        self.random_negatives, self.max_tokens_per_chunk = random_negatives, max_tokens_per_chunk
        self.mining_start, self.mining_pool, self.mining_keep = mining_start, mining_pool, mining_keep
        self.limit, self.seed = limit, seed
        self.mined: dict[int, np.ndarray] = {}

    @cached_property
    def library(self) -> Library:
        """The data set, read when it is first needed."""
        return read_library(self.folder)

    @cached_property
    def texts(self) -> list[str]:
        """What the models read of each statement."""
        return [normalise(statement) for statement in self.library.statements]

    @cached_property
    def premises(self) -> np.ndarray:
        """The statements that the training split lists as premises, sorted."""
        return np.unique(np.concatenate([[*c.useful, *c.useless] for c in self.conjectures("train")]))

    @cached_property
    def vocabulary(self) -> list[str]:
        """The tokens of the statements that training sees: conjectures of the training split, and their premises."""
        read = np.union1d(self.premises, [c.statement for c in self.conjectures("train")])
        texts = (self.texts[i] for i in read)
        return character_vocabulary(texts) if self.level == "character" else word_vocabulary(texts, self.min_word_count)

    @cached_property
    def store(self) -> TokenStore:
        """The tokens of all statements."""
        tokenizer = Tokenizer(self.vocabulary, self.level)
        return TokenStore((tokenizer(text) for text in self.texts), self.max_length)

    @cached_property
    def definitions(self) -> dict[str, str]:
        """The defining statement of each symbol that has one."""
        return read_definitions(self.folder, self.library)

    def conjectures(self, split: str) -> list[Conjecture]:
        """The conjectures of a split, at most ``limit`` of them."""
        chosen = self.library.select(split)
        return chosen[: self.limit] if self.limit else chosen

    def batch(self, conjectures: list[Conjecture], *, negatives: bool, rng: np.random.Generator) -> Batch:
        """Conjectures with their listed premises, and with random and mined ones where ``negatives`` is set."""
        return make_batch(
            conjectures,
            self.store,
            random_negatives=self.random_negatives if negatives else 0,
            pool=self.premises if self.negatives_from == "library" else None,
            mined=self.mined if negatives else {},
            max_tokens=self.max_tokens_per_chunk,
            rng=rng,
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
        """The listed pairs of the validation split."""
        conjectures, size = self.conjectures("validation"), self.conjectures_per_batch
        rng = np.random.default_rng(0)
        parts = [conjectures[i : i + size] for i in range(0, len(conjectures), size)]
        batches = [self.batch(part, negatives=False, rng=rng) for part in parts]
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
        rng = np.random.default_rng([data.seed, epoch])
        batches = neighbour_batches(data.conjectures("train"), data.run_length, data.conjectures_per_batch, rng)
        for i in batches_left(data.trainer, len(batches)):
            yield data.batch(batches[i], negatives=True, rng=np.random.default_rng([data.seed, epoch, i]))
