"""Pictures of detections: boxes and labels on the image, good to look at from thumbnails to posters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurips16.clients.detection import Detection

if TYPE_CHECKING:
    from PIL.Image import Image

# Paul Tol's bright scheme, which people with any colour vision tell apart; without its grey.
COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377")
LINE_SHARE = 1 / 250  # of the image's mean side
TEXT_SHARE = 1 / 40
SMALLEST_TEXT = 9  # pixels


def draw_detections(image: np.ndarray, detections: Sequence[Detection], labels: Iterable[str] = ()) -> Image:
    """The image, uint8 [H, W, 3], with a box and a tag for each detection; the surest are drawn last, on top.

    Args:
        image: as `read_image` gives it.
        detections: on it.
        labels: all names there may be, so that a label has the same colour on every image; else those of this image.
    """
    from PIL import Image, ImageDraw, ImageFont

    canvas = Image.fromarray(image)
    height, width = image.shape[:2]
    mean_side = (height * width) ** 0.5
    line = max(1, round(mean_side * LINE_SHARE))
    font = ImageFont.load_default(max(SMALLEST_TEXT, mean_side * TEXT_SHARE))
    names = sorted({*labels, *(d.label for d in detections)})
    colour_of = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    draw = ImageDraw.Draw(canvas)
    for detection in reversed(detections):
        x0, y0, x1, y1 = detection.box
        colour = colour_of[detection.label]
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=line)
        text = f"{detection.label} {detection.score:.0%}"
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        wide, high = right - left + 2 * line + 2, bottom - top + 2 * line + 2
        # Above the box where there is room, else inside its upper edge; never over the sides of the image.
        at_x = min(max(0.0, x0), max(0.0, width - wide))
        at_y = y0 - high if y0 >= high else min(y0, max(0.0, height - high))
        draw.rectangle((at_x, at_y, at_x + wide, at_y + high), fill=colour)
        draw.text((at_x + line + 1 - left, at_y + line + 1 - top), text, fill="white", font=font)
    return canvas
