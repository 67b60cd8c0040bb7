"""Goals and actions of a served hierarchy, and a policy that keeps the goal between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import InvalidInputError, UnexpectedReplyError
from neurips16.clients.protocol.operation import Operation

META, CONTROLLER = "hdqn_meta", "hdqn_controller"


def choose_goals(observations: np.ndarray) -> Operation[np.ndarray]:
    """The goal that promises most, int64 [N], for each of the observations, integers [N].

    Raises:
        InvalidInputError: the observations are no whole numbers, one for each row.
        UnexpectedReplyError: the server's model is another.
    """
    (answer,) = yield [messages.infer(META, {"observation": _column(observations, "observations")})]
    return _best(answer, "goal_values", META)


def choose_actions(observations: np.ndarray, goals: np.ndarray) -> Operation[np.ndarray]:
    """The action that promises most on the way to each goal, int64 [N]; observations and goals are integers [N].

    Raises:
        InvalidInputError: they are no whole numbers, or not equally many.
        UnexpectedReplyError: the server's model is another.
    """
    columns = {"observation": _column(observations, "observations"), "goal": _column(goals, "goals")}
    if len(columns["observation"]) != len(columns["goal"]):
        raise InvalidInputError(f"a goal for each observation: got {len(columns['goal'])} and {len(observations)}")
    (answer,) = yield [messages.infer(CONTROLLER, columns)]
    return _best(answer, "action_values", CONTROLLER)


class Policy:
    """Acts in one episode at a time; the goal of the session is kept here, not on the server.

    Args:
        client: any of the clients.
    """

    def __init__(self, client: Any):
        self._client = client
        self.goal: int | None = None

    def reset(self) -> None:
        """Begin an episode: a goal is to be chosen."""
        self.goal = None

    def act(self, observation: int) -> int:
        """The next action; where the goal is reached, or there is none yet, one is chosen first."""
        if self.goal is None or self.goal == observation:
            self.goal = int(self._client.choose_goals([observation])[0])
        return int(self._client.choose_actions([observation], [self.goal])[0])


def _column(values: Any, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or not len(array) or not np.issubdtype(array.dtype, np.integer):
        raise InvalidInputError(f"{name} are whole numbers [N], got {array.dtype} {list(array.shape)}")
    return array.astype(np.int64)[:, None]


def _best(answer: dict[str, np.ndarray], name: str, model: str) -> np.ndarray:
    values = answer.get(name)
    if values is None or values.ndim != 2 or not np.isfinite(values).all():
        raise UnexpectedReplyError(f"model {model!r} did not answer with finite {name!r} [N, choices]")
    return values.argmax(1)
