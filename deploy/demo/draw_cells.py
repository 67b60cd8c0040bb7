"""Draws cells.jpg, in the manner of a stained blood smear, which the detector is shown with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = (640, 480)  # width, height: those of BCCD
RED_CELLS, PLATELETS = 16, 4
TARGET = Path(__file__).parents[2] / "clients/tasks/detect/examples/cells.jpg"


def main() -> None:
    """Write the picture among the examples of the task; the same one each time."""
    rng = np.random.default_rng(3)
    picture = Image.new("RGB", SIZE, (226, 216, 214))
    draw = ImageDraw.Draw(picture)
    for _ in range(RED_CELLS):
        centre, radius = rng.uniform((0, 0), SIZE), rng.uniform(44, 54)
        disc(draw, centre, radius, (204, 160, 158))
        disc(draw, centre, 0.45 * radius, (221, 192, 190))
    disc(draw, np.array((330, 230)), 95, (176, 158, 196))
    for lobe in ((-34, -20), (26, -32), (4, 34)):
        disc(draw, np.array((330, 230)) + lobe, 42, (104, 70, 150))
    for _ in range(PLATELETS):
        disc(draw, rng.uniform((20, 20), np.array(SIZE) - 20), rng.uniform(13, 18), (140, 104, 168))
    grain = rng.normal(0, 4, (SIZE[1], SIZE[0], 3))
    pixels = np.asarray(picture.filter(ImageFilter.GaussianBlur(1.5))) + grain
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
        Path(__file__).parents[2] / "clients/tasks/detect/examples/cells.jpg", quality=90
    )


def disc(draw: ImageDraw.ImageDraw, centre: np.ndarray, radius: float, colour: tuple[int, int, int]) -> None:
    """A filled disc; centre (x, y) and radius in pixels."""
    draw.ellipse([*(centre - radius), *(centre + radius)], fill=colour)


if __name__ == "__main__":
    main()
