"""Draws the data set: python -m stripes.draw FOLDER"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 32
DIRECTIONS = {"across": (0.0, 1.0), "down": (1.0, 0.0), "diagonal": (0.7, 0.7)}


def draw(direction: str, rng: np.random.Generator) -> np.ndarray:
    """Noisy stripes, uint8 [32, 32, 3]."""
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    across, down = DIRECTIONS[direction]
    wave = np.sin((across * x + down * y) * rng.uniform(0.7, 1.2) + rng.uniform(0, 6.3))
    image = 128 + 90 * wave[..., None] * rng.uniform(0.5, 1, 3) + rng.normal(0, 20, (SIDE, SIDE, 3))
    return image.clip(0, 255).astype(np.uint8)


def main(folder: Path, count: int = 40) -> None:
    """Write ``FOLDER/DIRECTION/NUMBER.png``, and some of each into ``FOLDER-test``."""
    for split, seed in ((folder, 0), (folder.with_name(f"{folder.name}-test"), 1)):
        rng = np.random.default_rng(seed)
        for direction in DIRECTIONS:
            (split / direction).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                Image.fromarray(draw(direction, rng)).save(split / direction / f"{number}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
