"""What a task has to say so that `neurips16 score` can do it: the columns that it adds, and how they are filled.

Nothing of a model is known here but through the operations that the clients have anyway. A score task is a small
frozen dataclass that travels to the workers; its fields are its options on the command line: of type ``str``, ``int``,
``float`` or ``Path`` (or None besides), required where they have no default, explained by ``field(metadata={"help"})``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from neurips16.clients.protocol.messages import ModelConfig
from neurips16.clients.protocol.operation import Operation

Value = str | bytes | Path  # of one row: a text, the bytes of a file, or a file
Result = dict[str, Any]  # by column

CLASSES = pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float32())]))


class ScoreTask(ABC):
    """One way of scoring, with its options."""

    name: ClassVar[str]
    wants: ClassVar[str]  # "file" or "text": what the values of a column of texts are
    rows_at_a_time: ClassVar[int] = 1  # that are given to `score` together

    @property
    @abstractmethod
    def models(self) -> tuple[str, ...]:
        """The models that it asks, the one first whose answer it is."""

    @abstractmethod
    def fields(self, config: ModelConfig) -> list[pa.Field]:
        """The columns that it adds, given the configuration of the first model."""

    @abstractmethod
    def check(self) -> Operation[None]:
        """See that the models are what the task expects, before a row is read."""

    def options(self) -> dict[str, Any]:
        """What of it decides the results, as JSON values."""
        return asdict(self)  # type: ignore[call-overload]  # every task is a dataclass

    def prepare(self, folder: Path) -> Operation[ScoreTask]:
        """The task that the workers do, once what they need is in ``folder``."""
        yield from ()
        return self

    @abstractmethod
    def score(self, values: Sequence[Value]) -> Operation[list[Result]]:
        """The results of some rows; an error means that one of them cannot be scored, or that nothing can."""
