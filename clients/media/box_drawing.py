"""Pictures of detections: boxes and labels on the image, good to look at from thumbnails to posters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurips16.clients.tasks.detect.calls import Detection

if TYPE_CHECKING:
    from PIL.Image import Image

# Paul Tol's bright scheme, which people with any colour vision tell apart; without its grey.
COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377")
LINE_SHARE = 1 / 250  # of the image's mean side
TEXT_SHARE = 1 / 40
SMALLEST_TEXT = 9  # pixels
Box = tuple[float, float, float, float]


def draw_detections(image: np.ndarray, detections: Sequence[Detection], labels: Iterable[str] = ()) -> Image:
    """The image, uint8 [H, W, 3], with a box and a tag for each detection.

    Args:
        image: as `read_image` gives it.
        detections: on it, the surest first; they get the best places for their tags.
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
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour_of[detection.label], width=line)
    tags: list[Box] = []
    for detection in detections:
        text = f"{detection.label} {detection.score:.0%}"
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        tag = _free_place(
            detection.box, right - left + 2 * line + 2, bottom - top + 2 * line + 2, (width, height), tags
        )
        tags.append(tag)
        draw.rectangle(tag, fill=colour_of[detection.label])
        draw.text((tag[0] + line + 1 - left, tag[1] + line + 1 - top), text, fill="white", font=font)
    return canvas


def _free_place(box: Box, wide: float, high: float, size: tuple[int, int], tags: Sequence[Box]) -> Box:
    """Where a box's tag covers no other: above it, below it, or at one of its inner edges; above it, if nowhere."""
    x0, y0, x1, y1 = box
    corners = [(x0, y0 - high), (x0, y1), (x1 - wide, y0 - high), (x1 - wide, y1), (x0, y0), (x0, y1 - high)]
    places = []
    for x, y in corners:  # none over the image's edges
        x, y = min(max(0.0, x), max(0.0, size[0] - wide)), min(max(0.0, y), max(0.0, size[1] - high))
        places.append((x, y, x + wide, y + high))
    return next((place for place in places if not any(_overlap(place, tag) for tag in tags)), places[0])


def _overlap(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
