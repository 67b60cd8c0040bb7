"""The states of sequences, kept from request to request.

With the C++ backend Triton keeps them. A Python-based backend is handed the *initial* state with every request, and
cannot hand back what became of it, so it keeps that itself: from a sequence's start to its end, or until the sequence
has been idle for longer than the configuration allows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

START, END = 1, 2  # the flags of a request


class LostSequenceError(LookupError):
    """A request goes on with a sequence that is not known here."""


class SequenceStates:
    """The states of the sequences that one model instance has in hand.

    Args:
        config: the model configuration's ``sequence_batching``.
        clock: seconds, from any beginning.
    """

    def __init__(self, config: Mapping[str, Any], clock: Callable[[], float] = time.monotonic):
        self.pairs = {state["input_name"]: state["output_name"] for state in config.get("state", [])}
        self._idle_s = int(config.get("max_sequence_idle_microseconds") or 1_000_000) / 1e6
        self._clock = clock
        self._states: dict[int | str, tuple[float, dict[str, np.ndarray]]] = {}

    def __len__(self) -> int:
        return len(self._states)

    def before(self, sequence: int | str, flags: int, initial: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The state that a request's run starts from.

        Args:
            sequence: the request's correlation id.
            flags: the request's flags.
            initial: the initial state, by input name, that came with the request.

        Raises:
            LostSequenceError: the request does not start a sequence, and goes on with none that is known.
        """
        if flags & START:
            # A copy: what came with the request lies in memory that is taken back with the response.
            return {name: np.array(initial[name]) for name in self.pairs}
        if sequence not in self._states:
            raise LostSequenceError(
                f"sequence {sequence} is not known here (it ended, was idle for longer than {self._idle_s:g} s, or the "
                "model was loaded anew): send it again from its start"
            )
        return self._states[sequence][1]

    def after(self, sequence: int | str, flags: int, outputs: Mapping[str, np.ndarray]) -> None:
        """Keep the state that a run ended with, or forget the sequence at its end."""
        if flags & END:
            self._states.pop(sequence, None)
            return
        # Copies: a slice would keep the outputs of all requests that ran together.
        self._states[sequence] = (
            self._clock(),
            {input_name: np.array(outputs[output_name]) for input_name, output_name in self.pairs.items()},
        )

    def forget_idle(self) -> None:
        """Forget the sequences that were idle for longer than permitted."""
        oldest = self._clock() - self._idle_s
        self._states = {key: kept for key, kept in self._states.items() if kept[0] >= oldest}
