"""A sequence of requests to a model that keeps state from one to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import InvalidInputError, RequestError
from neurips16.clients.protocol.messages import SequenceStep, new_sequence_id
from neurips16.clients.protocol.operation import Operation, single


class Sequence:
    """Opens a sequence with its first step and closes it with its last; a step is tried again where that is safe.

    Within an operation, which streams::

        sequence = Sequence("neural_transducer")
        yield Defer(sequence.close)
        for block in blocks:
            answer = yield from sequence.step({"audio": block})
            yield Emit(answer["tokens"])

    The first step may be repeated, since it begins the state afresh; a later one that failed may have moved the state
    or not, so the sequence cannot go on after it. What is never closed, a server lets go after its idle time.

    Args:
        model: its name on the server.
        outputs: the names wanted at each step; all, if None.
        version: of the model; the server's choice, if empty.
    """

    def __init__(self, model: str, *, outputs: Iterable[str] | None = None, version: str = "") -> None:
        self.model = model
        self.id = new_sequence_id()
        self._outputs = None if outputs is None else list(outputs)
        self._version = version
        self._last_inputs: Mapping[str, Any] | None = None  # of the step that the server knows of
        self._failed = False
        self._ended = False

    def step(self, inputs: Mapping[str, Any], *, last: bool = False) -> Operation[dict[str, np.ndarray]]:
        """One step; returns the model's outputs by name.

        Args:
            inputs: arrays by name, batch axis (1) first.
            last: ends the sequence with this step.

        Raises:
            InvalidInputError: the sequence has ended, or an earlier step has failed.
            RequestError: the step was not answered.
        """
        if self._ended or self._failed:
            raise InvalidInputError(
                f"this sequence of model {self.model!r} has {'failed' if self._failed else 'ended'}: begin another"
            )
        step = SequenceStep(self.id, start=self._last_inputs is None, end=last)
        rpc = messages.infer(self.model, inputs, outputs=self._outputs, version=self._version, sequence=step)
        self._last_inputs = inputs
        try:
            answer = yield from single(rpc)
        except RequestError:
            self._failed = True
            raise
        self._ended = last
        return answer

    def close(self) -> Operation[None]:
        """End the sequence where its last step has not; the server needs inputs for that and gets the latest again."""
        if self._ended or self._last_inputs is None:
            return
        self._ended = True
        step = SequenceStep(self.id, start=False, end=True)
        yield from single(messages.infer(self.model, self._last_inputs, version=self._version, sequence=step))
