"""The sub-commands `generate infogan`, `generate disentangle` and `generate dgn-am`, and `read-codes`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from neurips16.clients.protocol.command_options import Failures, JsonOption, MaxImageOption, Server, asks_server

generate = typer.Typer(help="Make pictures: a grid as PNG, or an animated GIF.", no_args_is_help=True)
OutputOption = Annotated[Path, typer.Option("--output", metavar="FILE", help="A .png, or a .gif for an animation.")]
SeedOption = Annotated[int, typer.Option(help="Picture i of a grid has this seed plus i.")]
ScaleOption = Annotated[int, typer.Option(min=1, max=32, help="Enlarge the pictures by this factor.")]


@generate.command()
@asks_server
def infogan(
    server: Server,
    output: OutputOption,
    category: Annotated[
        str | None, typer.Option(help="The category of each categorical code, comma-separated; default: each in turn.")
    ] = None,
    continuous: Annotated[
        str | None, typer.Option(help="The continuous codes, comma-separated; default: zeros.")
    ] = None,
    traverse: Annotated[
        int | None, typer.Option(metavar="CODE", help="Let this continuous code (0, 1, ...) go through its range.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many pictures, or how many in each row of a traversal.")] = 10,
    columns: Annotated[int, typer.Option(min=1, help="Columns of the grid.")] = 10,
    seed: SeedOption = 0,
    scale: ScaleOption = 2,
    model: Annotated[str, typer.Option(help="Its name on the server.")] = "infogan",
) -> None:
    """Generate pictures from latent codes.

    With --traverse, each row is one category with one seed, and the code grows from left to right.
    """
    from neurips16.clients.media.picture_grid import grid
    from neurips16.clients.tasks.generate.calls import traversal

    categories = None if category is None else [int(n) for n in _numbers(category, "category", whole=True)]
    others = None if continuous is None else _numbers(continuous, "continuous")
    with server.client() as client:
        if traverse is None:
            images = client.generate(model, category=categories, continuous=others, count=count, seed=seed)
        else:
            images = client.run(
                traversal(model, traverse, category=categories, continuous=others, steps=count, seed=seed)
            )
            columns = count
    # One picture is written without an edge, so that other commands can read it.
    _write(output, images[0] if len(images) == 1 else grid(images, min(columns, len(images))), scale)


@generate.command()
@asks_server
def disentangle(
    server: Server,
    output: OutputOption,
    style: Annotated[list[Path], typer.Option(metavar="FILE", help="A picture whose style is taken; may be repeated.")],
    content: Annotated[
        list[Path], typer.Option(metavar="FILE", help="A picture whose class is taken; may be repeated.")
    ],
    interpolate: Annotated[
        int | None, typer.Option(metavar="STEPS", help="Interpolate from the first --style to the first --content.")
    ] = None,
    scale: ScaleOption = 2,
) -> None:
    """Draw the class of each content picture (columns) in the style of each style picture (rows).

    With --interpolate, the style changes along the columns, the class along the rows.
    """
    import numpy as np

    from neurips16.clients.media.picture_grid import grid, read_picture
    from neurips16.clients.tasks.generate.calls import SWAP, swap_grid

    with server.client() as client:
        channels = client.model_config(SWAP).inputs[0].dims[-1]
        styles, contents = ([read_picture(path, channels) for path in paths] for paths in (style, content))
        if interpolate is not None:
            images = client.interpolate(styles[0], contents[0], steps=interpolate)
            _write(output, grid(images.reshape(-1, *images.shape[2:]), interpolate), scale)
            return
        swapped = client.run(swap_grid(styles, contents))
    shown = [np.zeros_like(styles[0]), *contents]
    for image, row in zip(styles, swapped, strict=True):
        shown += [image, *row]
    _write(output, grid(np.stack(shown), len(contents) + 1), scale)


@generate.command()
@asks_server
def dgn_am(
    server: Server,
    output: OutputOption,
    unit: Annotated[
        list[int] | None, typer.Option(help="The class whose unit is maximised; may be repeated; default: all.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps of the ascent.")] = 200,
    step_size: Annotated[float | None, typer.Option(help="Size of the first step; default: the model's.")] = None,
    seed: Annotated[int, typer.Option(help="The seed of the code that the ascent starts from.")] = 0,
    strip: Annotated[bool, typer.Option("--strip", help="Show the intermediate images, one unit a row.")] = False,
    scale: ScaleOption = 2,
    as_json: JsonOption = False,
) -> None:
    """Generate the inputs that units of a classifier prefer; a .gif shows the ascent."""
    import numpy as np

    from neurips16.clients.media.picture_grid import grid, write_animation
    from neurips16.clients.tables import print_table
    from neurips16.clients.tasks.generate.calls import all_units, preferred_inputs

    with server.client() as client:
        units = list(unit) if unit else client.run(all_units())
        found = client.run(preferred_inputs(units, steps=steps, seed=seed, step_size=step_size))
    columns = min(5, len(found))
    if output.suffix.lower() == ".gif":
        frames = np.stack([one.frames for one in found], 1)  # [F, N, H, W, C]
        write_animation(output, [grid(frame, columns) for frame in frames], scale=scale)
        if not as_json:
            typer.echo(f"wrote {output}")
    elif strip:
        _write(output, grid(np.concatenate([one.frames for one in found]), len(found[0].frames)), scale, as_json)
    else:
        _write(output, grid(np.stack([one.image for one in found]), columns), scale, as_json)
    if as_json:
        described = [
            {
                "unit": one.unit,
                "seed": one.seed,
                "start_activation": float(one.activations[0]),
                "activation": float(one.activations[-1]),
                "real_activation": one.real_activation,
                "real_std": one.real_std,
            }
            for one in found
        ]
        typer.echo(json.dumps({"preferred_inputs": described, "output": str(output)}))
        return
    print_table(
        {"unit": "right", "at the start": "right", "preferred": "right", "real images": "right"},
        (
            (
                str(one.unit),
                f"{one.activations[0]:.2f}",
                f"{one.activations[-1]:.2f}",
                f"{one.real_activation:.2f} ± {one.real_std:.2f}",
            )
            for one in found
        ),
    )


@asks_server
def read_codes(
    server: Server,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Files, folders, or - for stdin.")],
    model: Annotated[str, typer.Option(help="Its name on the server.")] = "infogan_encoder",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, one for each image.")] = False,
    max_image_bytes: MaxImageOption = None,
) -> None:
    """Read the latent codes of images: the likeliest category, its probability, and the continuous codes.

    An image that cannot be used is named and the others are answered; the status is 1 then.
    """
    from neurips16.clients.media.input_files import IMAGE_SUFFIXES, input_files
    from neurips16.clients.media.limits import limit_files
    from neurips16.clients.media.picture_grid import read_picture
    from neurips16.clients.protocol.errors import ClientError

    limit_files(image_bytes=max_image_bytes)
    failures = Failures()
    with server.client() as client:
        channels = client.model_config(model).inputs[0].dims[-1]
        for file in input_files(images, IMAGE_SUFFIXES):
            try:
                codes = client.read_codes(read_picture(file.source, channels), model=model)
            except ClientError as error:
                failures.add(file.name, error)
                continue
            continuous = codes.continuous[0].tolist()
            if as_json:
                probabilities = [found[0].tolist() for found in codes.probabilities]
                typer.echo(
                    json.dumps({"image": file.name, "category_probabilities": probabilities, "continuous": continuous})
                )
                continue
            likeliest = [f"category {found.argmax()} ({found.max():.3f})" for found in codes.probabilities]
            numbers = [f"continuous {' '.join(f'{code:+.2f}' for code in continuous)}"] if continuous else []
            typer.echo(f"{file.name}: {', '.join(likeliest + numbers)}")
    failures.finish()


def _write(output: Path, image: object, scale: int, quiet: bool = False) -> None:
    from neurips16.clients.media.picture_grid import write_picture

    write_picture(output, image, scale=scale)  # type: ignore[arg-type]
    if not quiet:
        typer.echo(f"wrote {output}")


def _numbers(text: str, option: str, *, whole: bool = False) -> list[float]:
    from neurips16.clients.protocol.errors import InvalidInputError

    try:
        return [int(word) if whole else float(word) for word in text.split(",")]
    except ValueError as error:
        kind = "whole numbers" if whole else "numbers"
        raise InvalidInputError(f"--{option} takes {kind} with commas between them, got {text!r}") from error
