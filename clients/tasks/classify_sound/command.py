"""The sub-command `classify-sound`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from neurips16.clients.models_command import UrlOption

if TYPE_CHECKING:
    from neurips16.clients.tasks.classify_sound.calls import SoundClassification, SoundTimeline

ROW_INCHES, SECONDS_PER_INCH, WIDEST_INCHES = 0.3, 1.0, 16.0


def classify_sound(
    audio: Annotated[list[Path], typer.Argument(metavar="AUDIO...", help="Files: wav, flac, ogg, mp3, …")],
    top: Annotated[int | None, typer.Option(min=1, metavar="K", help="Show the likeliest K only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, for each file.")] = False,
    timeline: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw what is heard when, for a single file.")
    ] = None,
    url: UrlOption = None,
) -> None:
    """Say what can be heard in sound files; one that cannot be used is reported, and the others are answered."""
    from neurips16.clients.client import Client
    from neurips16.clients.protocol.errors import InvalidAudioError, InvalidInputError

    if timeline is not None and len(audio) > 1:
        raise InvalidInputError(f"--timeline draws one file, got {len(audio)}: name one at a time")
    failures: list[InvalidAudioError] = []
    with Client(url) as client:
        for path in audio:
            try:
                answer = client.classify_sound(path, top_k=top, steps=timeline is not None)
            except InvalidAudioError as error:
                failures.append(error)
                text = str(error)
                typer.echo(f"error: {text if str(path) in text else f'{path}: {text}'}", err=True)
                continue
            _show(path, answer, as_json=as_json)
            if timeline is not None and answer.timeline is not None:
                draw_timeline(answer.timeline, answer.duration_s, timeline, title=path.name)
    if failures:
        raise typer.Exit(failures[0].exit_status)


def _show(path: Path, answer: SoundClassification, *, as_json: bool) -> None:
    from neurips16.clients.tables import print_table

    if as_json:
        typer.echo(json.dumps({"audio": str(path), "classes": [dataclasses.asdict(found) for found in answer]}))
        return
    typer.echo(f"{path} ({answer.duration_s:.1f} s)")
    print_table(
        {"probability": "right", "class": "left"}, ((f"{found.probability:.3f}", found.label) for found in answer)
    )


def draw_timeline(timeline: SoundTimeline, duration_s: float, path: Path | BinaryIO, *, title: str) -> None:
    """Draw the classes (rows) over time, darker where more likely, paler where there is silence, as PNG.

    Raises:
        InvalidInputError: the picture cannot be written.
    """
    import matplotlib as mpl
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from neurips16.clients.protocol.errors import InvalidInputError

    count = len(timeline.labels)
    width = min(WIDEST_INCHES, max(6.0, 2.5 + duration_s / SECONDS_PER_INCH))
    figure = Figure(figsize=(width, 1.2 + ROW_INCHES * count), layout="constrained")
    axes = figure.subplots()
    picture = axes.pcolormesh(
        np.append(timeline.start_s, timeline.start_s[-1] + timeline.step_s),  # steps are not quite evenly spaced
        np.arange(count + 1) - 0.5,
        timeline.probabilities.T,
        cmap=mpl.colormaps["Blues"],
        vmin=0,
        vmax=1,
        alpha=0.25 + 0.75 * timeline.weights[None].repeat(count, axis=0),  # type: ignore[arg-type]  # an array will do
    )
    axes.invert_yaxis()
    axes.set(xlim=(0, duration_s), xlabel="seconds", title=title)
    axes.set_yticks(range(count), timeline.labels)
    axes.spines[["top", "right"]].set_visible(False)
    figure.colorbar(picture, label="probability", pad=0.01)
    try:
        FigureCanvasAgg(figure).print_png(path)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror}") from error
