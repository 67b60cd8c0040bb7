"""Draws the digits among the examples, light on dark as MNIST has them, in several hands."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIDE, LARGE = 28, 8  # pixels; drawn that many times as large
# name: digit, height in pixels, thickness added to the strokes, slant, turn in degrees
HANDS = {
    "1-three-bold": ("3", 22, 0.8, 0.0, 0),
    "2-seven-slanted": ("7", 20, 0.0, 0.35, 0),
    "3-two-turned": ("2", 21, 0.4, 0.0, 18),
    "4-five-small": ("5", 16, 0.5, -0.1, 0),
}


def main() -> None:
    """Write them into the examples of the task."""
    folder = Path(__file__).parents[2] / "clients/tasks/generate/examples"
    folder.mkdir(exist_ok=True)
    for name, hand in HANDS.items():
        digit(*hand).save(folder / f"{name}.png")


def digit(text: str, height: float, thickness: float, slant: float, turn: float) -> Image.Image:
    """One digit, grey, in the middle of 28 by 28 pixels."""
    side = SIDE * LARGE
    picture = Image.new("L", (side, side))
    font = ImageFont.load_default(1.3 * height * LARGE)
    stroke = round(thickness * LARGE)
    ImageDraw.Draw(picture).text(
        (side / 2, side / 2), text, fill=255, font=font, anchor="mm", stroke_width=stroke, stroke_fill=255
    )
    sheared = picture.transform((side, side), Image.Transform.AFFINE, (1, slant, -slant * side / 2, 0, 1, 0))
    turned = sheared.rotate(turn, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(0.3 * LARGE))
    return turned.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
