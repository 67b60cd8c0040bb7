"""The sub-command `classify-sound`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from neurips16.clients.protocol.command_options import Failures, Server, asks_server

if TYPE_CHECKING:
    from neurips16.clients.tasks.classify_sound.calls import SoundClassification, SoundTimeline

ROW_INCHES, SECONDS_PER_INCH, WIDEST_INCHES = 0.3, 1.0, 16.0


@asks_server
def classify_sound(
    server: Server,
    audio: Annotated[
        list[Path],
        typer.Argument(metavar="AUDIO...", help="Files (wav, flac, ogg, mp3, …), folders, or - for one on stdin."),
    ],
    top: Annotated[int | None, typer.Option(min=1, metavar="K", help="Show the K most probable only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, one for each file.")] = False,
    timeline: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw the classes over time, for a single file.")
    ] = None,
    max_sound_seconds: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Refuse a file that is longer.",
            show_default="NEURIPS16_MAX_SOUND_SECONDS, else 3600",
        ),
    ] = None,
) -> None:
    """Classify what can be heard in sound files.

    A file that cannot be used is named and the others are answered; the status is 1 then.
    """
    from neurips16.clients.media.input_files import AUDIO_SUFFIXES, input_files
    from neurips16.clients.media.limits import limit_files
    from neurips16.clients.protocol.errors import ClientError, InvalidInputError

    limit_files(sound_s=max_sound_seconds)
    files = input_files(audio, AUDIO_SUFFIXES)
    if timeline is not None and len(files) > 1:
        raise InvalidInputError(f"--timeline draws one file, got {len(files)}: name one at a time")
    failures = Failures()
    with server.client() as client:
        for file in files:
            try:
                answer = client.classify_sound(file.source, top_k=top, steps=timeline is not None)
            except ClientError as error:
                failures.add(file.name, error)
                continue
            _show(file.name, answer, as_json=as_json)
            if timeline is not None and answer.timeline is not None:
                draw_timeline(answer.timeline, answer.duration_s, timeline, title=Path(file.name).name)
    failures.finish()


def _show(name: str, answer: SoundClassification, *, as_json: bool) -> None:
    from neurips16.clients.tables import print_table

    if as_json:
        typer.echo(json.dumps({"audio": name, "classes": [dataclasses.asdict(found) for found in answer]}))
        return
    typer.echo(f"{name} ({answer.duration_s:.1f} s)")
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
