"""A maze with a key and a door, seen as pixels: far more steps to the only reward than chance would ever take.

    D A . . .    A is the agent, D the door, L the two ladders, K the key.
    # # # # L    The way leads down by both ladders to the key, and back to the door, which opens with the key alone:
    . . . . .    1 reward, and the end. Nothing else pays, and an episode is cut after 200 steps; the shortest way
    L # # # #    takes 31.
    . . . . K

The objects are the goals, each with a mask of where it is, as the boxes drawn by hand are in Montezuma's Revenge.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

ROWS, COLUMNS, PIXELS = 5, 5, 4  # pixels along a cell's side
GOALS = ("upper ladder", "lower ladder", "key", "door")
PLACES = ((1, 4), (3, 0), (4, 4), (0, 0))  # of the goals
KEY, DOOR = 2, 3
START = (0, 1)
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))  # up, down, left, right
LONGEST, SHORTEST = 200, 31
COLOURS: dict[str, int | tuple[int, int, int]] = {
    "floor": 40,
    "wall": 110,
    "ladder": (140, 90, 40),
    "key": (230, 200, 40),
    "door": (160, 40, 160),
}
AGENT, HOLDER = (240, 240, 240), (250, 240, 90)  # the agent without and with the key


class KeyDoor(gymnasium.Env):
    """Observations are uint8 [20, 20, 3]; actions up, down, left, right, of which walls take none."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(0, 255, (ROWS * PIXELS, COLUMNS * PIXELS, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(len(MOVES))

    def __init__(self, render_mode: str | None = None):
        self.render_mode = render_mode
        self.agent, self.holds, self.opened = START, False, False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Begin beside the door, without the key."""
        super().reset(seed=seed)
        self.agent, self.holds, self.opened = START, False, False
        return self.render(), self._info()

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """One move; the door is a wall for who has no key. ``info["reached"]`` says which goals the agent is at."""
        row, column = self.agent[0] + MOVES[action][0], self.agent[1] + MOVES[action][1]
        if _is_free(row, column) and ((row, column) != PLACES[DOOR] or self.holds):
            self.agent = row, column
        self.holds |= self.agent == PLACES[KEY]
        self.opened = self.agent == PLACES[DOOR]
        return self.render(), float(self.opened), self.opened, False, self._info()

    def render(self) -> np.ndarray:
        """What is observed."""
        cells = BACKGROUND.copy()
        if self.holds:
            cells[PLACES[KEY]] = COLOURS["floor"]
        cells[self.agent] = HOLDER if self.holds else AGENT
        return cells.repeat(PIXELS, 0).repeat(PIXELS, 1)

    def _info(self) -> dict[str, Any]:
        return {"reached": np.array([self.agent == place for place in PLACES])}


def masks() -> np.ndarray:
    """Where each goal is, uint8 [4, 20, 20] of 0 and 255."""
    cells = np.zeros((len(GOALS), ROWS, COLUMNS), np.uint8)
    for number, place in enumerate(PLACES):
        cells[number][place] = 255
    return cells.repeat(PIXELS, 1).repeat(PIXELS, 2)


def _is_free(row: int, column: int) -> bool:
    inside = 0 <= row < ROWS and 0 <= column < COLUMNS
    return inside and (row % 2 == 0 or (row, column) in PLACES)


def _background() -> np.ndarray:
    cells = np.full((ROWS, COLUMNS, 3), COLOURS["floor"], np.uint8)
    for row in range(ROWS):
        for column in range(COLUMNS):
            if not _is_free(row, column):
                cells[row, column] = COLOURS["wall"]
    for name, place in zip(("ladder", "ladder", "key", "door"), PLACES, strict=True):
        cells[place] = COLOURS[name]
    return cells


BACKGROUND = _background()
