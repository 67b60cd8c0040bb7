"""The sub-command `classify-image`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from neurips16.clients.protocol.command_options import Failures, MaxImageOption, Server, asks_server


@asks_server
def classify_image(
    server: Server,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Files of any common format, folders, or - for stdin."),
    ],
    model: Annotated[str, typer.Option(metavar="NAME", help="The classifier; `neurips16 models` lists what there is.")],
    top: Annotated[int | None, typer.Option(min=1, metavar="K", help="Show the K most probable only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, one for each image.")] = False,
    max_image_bytes: MaxImageOption = None,
) -> None:
    """Classify whole images, with any model that classifies images.

    An image that cannot be used is named and the others are answered; the status is 1 then.
    """
    from neurips16.clients.media.input_files import IMAGE_SUFFIXES, input_files
    from neurips16.clients.media.limits import limit_files
    from neurips16.clients.protocol.errors import ClientError
    from neurips16.clients.tables import print_table

    limit_files(image_bytes=max_image_bytes)
    failures = Failures()
    with server.client() as client:
        for file in input_files(images, IMAGE_SUFFIXES):
            try:
                classes = client.classify_image(file.source, model=model, top_k=top)
            except ClientError as error:
                failures.add(file.name, error)
                continue
            if as_json:
                found = [dataclasses.asdict(one) for one in classes]
                typer.echo(json.dumps({"image": file.name, "classes": found}))
            else:
                typer.echo(file.name)
                rows = ((f"{one.probability:.3f}", one.label) for one in classes)
                print_table({"probability": "right", "class": "left"}, rows)
    failures.finish()
