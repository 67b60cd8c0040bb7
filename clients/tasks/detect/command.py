"""The sub-command `detect`: what is on images."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurips16.clients.protocol.command_options import Failures, MaxImageOption, Server, asks_server
from neurips16.clients.tasks.detect import MIN_SCORE

if TYPE_CHECKING:
    from neurips16.clients.media.input_files import InputFile
    from neurips16.clients.tasks.detect.calls import Detection


@asks_server
def detect(
    server: Server,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Files of any common format, folders, or - for stdin."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, one for each image.")] = False,
    draw: Annotated[
        Path | None, typer.Option("--draw", metavar="DIR", help="Also write each image with its boxes into DIR.")
    ] = None,
    min_score: Annotated[
        float, typer.Option("--min-score", metavar="S", min=0.0, max=1.0, help="The score threshold.")
    ] = MIN_SCORE,
    max_image_bytes: MaxImageOption = None,
) -> None:
    """Find the objects on images: their labels, scores and boxes in pixels.

    An image that cannot be used is named and the others are answered; the status is 1 then.
    """
    from neurips16.clients.media.input_files import IMAGE_SUFFIXES, input_files
    from neurips16.clients.media.limits import limit_files
    from neurips16.clients.tasks.detect.calls import detect_each, detection_labels

    limit_files(image_bytes=max_image_bytes)
    files = input_files(images, IMAGE_SUFFIXES)
    names = _drawn_names(files)
    failures = Failures()
    with server.client() as client:
        labels = client.run(detection_labels()) if draw is not None else ()
        replies = client.stream(detect_each((file.source for file in files), min_score=min_score))
        for file, name, reply in zip(files, names, replies, strict=True):
            if reply.error is not None:
                failures.add(file.name, reply.error)
                continue
            if as_json:
                found = [dataclasses.asdict(one) | {"box": one.box._asdict()} for one in reply.answer]
                typer.echo(json.dumps({"image": file.name, "detections": found}))
            else:
                _print_found(file.name, reply.answer)
            if draw is not None:
                _draw(file, reply.answer, labels, draw / name)
    failures.finish()


def _print_found(name: str, found: list[Detection]) -> None:
    from neurips16.clients.tables import print_table

    typer.echo(f"{name}: {len(found)} found" if found else f"{name}: nothing found")
    if found:
        rows = ((d.label, f"{d.score:.3f}", " ".join(f"{edge:.1f}" for edge in d.box)) for d in found)
        print_table({"label": "left", "score": "right", "box (x0 y0 x1 y1)": "left"}, rows)


def _draw(file: InputFile, found: list[Detection], labels: tuple[str, ...], target: Path) -> None:
    from neurips16.clients.media.box_drawing import draw_detections
    from neurips16.clients.media.image_reading import read_image
    from neurips16.clients.protocol.errors import InvalidInputError

    picture = draw_detections(read_image(file.source), found, labels)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target)
    except OSError as error:
        raise InvalidInputError(f"cannot write {target}: {error.strerror or error}") from error


def _drawn_names(files: list[InputFile]) -> list[str]:
    """A name for each drawn image: NAME.png, and NAME-2.png where another image of that name came before."""
    names: list[str] = []
    for file in files:
        stem = Path(file.name).stem
        name, number = f"{stem}.png", 1
        while name in names:
            number += 1
            name = f"{stem}-{number}.png"
        names.append(name)
    return names
