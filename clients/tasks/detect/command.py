"""The sub-command `detect`: what is on images."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurips16.clients.models_command import UrlOption

if TYPE_CHECKING:
    from neurips16.clients.tasks.detect.calls import Detection

SURE_ENOUGH = 0.5  # for people; programs get everything unless they ask otherwise
IMAGES_AT_A_TIME = 32  # bounds what is kept in memory; answers come out after as many


def detect(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Files of images, in any common format.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, one for each image.")] = False,
    draw: Annotated[
        Path | None, typer.Option("--draw", metavar="DIR", help="Also write each image with its boxes into DIR.")
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            "--min-score",
            metavar="S",
            min=0.0,
            max=1.0,
            help="Leave out what is less sure [default: 0.5; with --json everything that the model reports]",
        ),
    ] = None,
    url: UrlOption = None,
) -> None:
    """Find the objects on images: their labels, scores and boxes in pixels."""
    from neurips16.clients.client import Client
    from neurips16.clients.tasks.detect.calls import detect_all, detection_labels

    least = min_score if min_score is not None else 0.0 if as_json else SURE_ENOUGH
    drawn_from = min_score if min_score is not None else SURE_ENOUGH
    names = _file_names(images) if draw is not None else []
    rest = iter(images)
    done = 0
    with Client(url) as client:
        labels = client.run(detection_labels()) if draw is not None else ()
        while some := list(itertools.islice(rest, IMAGES_AT_A_TIME)):
            for path, found in zip(some, client.run(detect_all(some, min_score=least)), strict=True):
                if as_json:
                    typer.echo(json.dumps({"image": str(path), "detections": [_as_dict(d) for d in found]}))
                else:
                    _print_found(path, found)
                if draw is not None:
                    _draw(path, [d for d in found if d.score >= drawn_from], labels, draw / names[done])
                done += 1


def _as_dict(detection: Detection) -> dict[str, object]:
    return {"label": detection.label, "score": detection.score, "box": list(detection.box)}


def _print_found(path: Path, found: list[Detection]) -> None:
    from neurips16.clients.tables import print_table

    typer.echo(f"{path}: {len(found)} found" if found else f"{path}: nothing found")
    if found:
        rows = ((d.label, f"{d.score:.3f}", " ".join(f"{edge:.1f}" for edge in d.box)) for d in found)
        print_table({"label": "left", "score": "right", "box (x0 y0 x1 y1)": "left"}, rows)


def _draw(path: Path, found: list[Detection], labels: tuple[str, ...], target: Path) -> None:
    from neurips16.clients.media.box_drawing import draw_detections
    from neurips16.clients.media.image_reading import read_image
    from neurips16.clients.protocol.errors import InvalidInputError

    picture = draw_detections(read_image(path), found, labels)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target)
    except OSError as error:
        raise InvalidInputError(f"cannot write {target}: {error.strerror or error}") from error


def _file_names(images: list[Path]) -> list[str]:
    """A name for each drawn image: NAME.png, and NAME-2.png where another image of that name came before."""
    names: list[str] = []
    for path in images:
        name, number = f"{path.stem}.png", 1
        while name in names:
            number += 1
            name = f"{path.stem}-{number}.png"
        names.append(name)
    return names
