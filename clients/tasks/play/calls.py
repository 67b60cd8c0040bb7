"""Goals and actions of a served hierarchy, and a policy that keeps the goal between them."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass
class Policy:
    """Acts in one episode at a time; the goal of the session is kept here, not on the server.

    Its methods are operations, which any of the clients performs: ``client.run(policy.act(observation))``.

    Attributes:
        environment: what it has learnt to play, by Gymnasium's name.
        goal: what it is after; None before the first act of an episode.
    """

    environment: str
    goal: int | None = None

    def reset(self) -> None:
        """Begin an episode: a goal is to be chosen."""
        self.goal = None

    def act(self, observation: int) -> Operation[int]:
        """The next action; where the goal is reached, or there is none yet, one is chosen first.

        Raises:
            InvalidInputError: the observation is no whole number.
            UnexpectedReplyError: the server's model is another.
        """
        if self.goal is None or self.goal == observation:
            self.goal = int((yield from choose_goals(np.array([observation])))[0])
        return int((yield from choose_actions(np.array([observation]), np.array([self.goal])))[0])


def policy(system: str = "hdqn") -> Operation[Policy]:
    """A policy of the models ``SYSTEM_meta`` and ``SYSTEM_controller`` of the server.

    Raises:
        InvalidInputError: of no such system is a policy known.
        UnexpectedReplyError: the server's models do not say what they play, or not the same.
    """
    if system != "hdqn":
        raise InvalidInputError(f"the systems with a policy are hdqn, got {system!r}")
    configs = yield (messages.model_config(name) for name in (META, CONTROLLER))
    environments = {config.parameters.get("environment") for config in configs}
    (environment,) = environments if len(environments) == 1 else (None,)
    if environment is None:
        raise UnexpectedReplyError(f"the models {META!r} and {CONTROLLER!r} do not name one environment")
    return Policy(environment)


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
