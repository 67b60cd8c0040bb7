"""The sub-command `neurips16 landscape`: where a linear network stands on its loss surface."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

REACH, POINTS = 1.5, 61  # of the picture: how far along each direction, as a share of the weights' norm


def landscape(
    network: Annotated[
        str, typer.Argument(metavar="NETWORK", help="A torch state dict, an .onnx file, or random:4,3,2 (widths).")
    ],
    data: Annotated[Path, typer.Option(help="An .npz with x [m, inputs] and y [m, outputs]; y is x if left out.")],
    direction: Annotated[
        Path | None, typer.Option(metavar="FILE.npy", help="Save the way down: a unit vector over all weights.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the loss along the extreme eigenvectors (.png, .svg).")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="What counts as zero, relative to the size of the data.")] = 1e-7,
    seed: Annotated[int, typer.Option(min=0, help="The seed of random weights, and of the directions tried.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """At a minimum or at a saddle, how far from the best, and is there a way down? For deep linear networks."""
    import numpy as np

    from neurips16.export.analysis.networks import read_data, read_network
    from neurips16.training.errors import InvalidModelError
    from neurips16.training.systems.linear_landscape.classification import classify

    weights = read_network(network, seed)
    x, y = read_data(data, weights[0].shape[1])
    point = classify(weights, x, y, tolerance=tolerance, seed=seed)
    result: dict[str, Any] = {
        "kind": point.kind,
        "widths": [weights[0].shape[1], *(len(w) for w in weights)],
        "loss": point.loss,
        "least_loss": point.least_loss,
        "gap": point.loss - point.least_loss,
        "largest_derivative": point.gradient_size,
        "least_curvature": float(point.eigenvalues[0]),
        "greatest_curvature": float(point.eigenvalues[-1]),
        "negative_curvatures": int((point.eigenvalues < -tolerance * max(1.0, point.data.total)).sum()),
        "kept_eigenvectors": None if point.kept is None else list(point.kept),
        "strict_by_theorem": point.predicted_strict,
        "way_down": point.way_down is not None,
        "broken_assumptions": list(point.data.broken),
    }
    if direction is not None and point.way_down is not None:
        try:
            np.save(direction, point.way_down)
        except OSError as error:
            raise InvalidModelError(f"{direction} cannot be written: {error}") from error
        result["direction"] = str(direction)
    if picture is not None:
        _draw(weights, x, y, point, picture)
        result["picture"] = str(picture)
    typer.echo(json.dumps(result)) if as_json else _print(result)


def _print(result: dict[str, Any]) -> None:
    from neurips16.clients.tables import print_table

    typer.echo(f"{result['kind']}: loss {result['loss']:.6g}, the least is {result['least_loss']:.6g}")
    names = ("gap", "largest_derivative", "least_curvature", "greatest_curvature")
    rows = [(name.replace("_", " "), f"{result[name]:.4g}") for name in names]
    if result["kept_eigenvectors"] is not None:
        rows.append(("eigenvectors kept", " ".join(map(str, result["kept_eigenvectors"])) or "none"))
    print_table({"at this point": "left", "value": "right"}, rows)
    if result["kind"] == "not critical":
        typer.echo("the way down is against the gradient")
    elif result["way_down"]:
        how = (
            "a direction of negative curvature" if result["kind"] == "strict saddle" else "a direction of higher order"
        )
        typer.echo(f"there is a way down: {how}")
    elif result["kind"] == "bad saddle":
        typer.echo("the theorem says that there is a way down; none of the directions tried leads there")
    for text in result["broken_assumptions"]:
        typer.echo(f"the theorem's assumptions do not hold: {text}")
    for name in ("direction", "picture"):
        if name in result:
            typer.echo(f"wrote {result[name]}")


def _draw(weights: Any, x: Any, y: Any, point: Any, path: Path) -> None:
    import numpy as np
    from matplotlib.figure import Figure

    from neurips16.training.errors import InvalidModelError
    from neurips16.training.systems.linear_landscape.network import joined, loss, split

    flat = joined(weights)
    steps = np.linspace(-1, 1, POINTS) * REACH * max(1.0, float(np.linalg.norm(flat)) / 2)
    ways = {"least curvature": (point.lowest, point.eigenvalues[0])}
    ways["greatest curvature"] = (point.highest, point.eigenvalues[-1])
    if point.way_down is not None and point.kind != "strict saddle":
        ways["way down"] = (point.way_down, None)
    grid = np.array(
        [[loss(split(flat + a * point.lowest + b * point.highest, weights), x, y) for a in steps] for b in steps]
    )
    figure = Figure(figsize=(10, 4), layout="constrained")
    lines, surface = figure.subplots(1, 2)
    for name, (way, curvature) in ways.items():
        values = [loss(split(flat + step * way, weights), x, y) for step in steps]
        lines.plot(steps, values, label=name if curvature is None else f"{name} ({curvature:.3g})")
    lines.axhline(point.least_loss, color="grey", ls=":", lw=1, label="global minimum")
    lines.plot(0, point.loss, "ko", ms=4)
    lines.set_ylim(min(0.0, point.least_loss), max(3 * point.loss, 4 * point.least_loss, 1e-3))
    lines.set(xlabel="distance from this point", ylabel="loss", title=f"{point.kind}, loss {point.loss:.4g}")
    lines.legend(frameon=False, fontsize=8)
    drawn = surface.contourf(steps, steps, np.log10(np.maximum(grid - point.least_loss, 1e-12) + 1e-6), 24)
    figure.colorbar(drawn, ax=surface, label="log₁₀ of loss over the global minimum")
    surface.plot(0, 0, "w+", ms=10)
    surface.set(xlabel="along the least curvature", ylabel="along the greatest curvature")
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise InvalidModelError(f"{path} cannot be written: {error}; name a .png or an .svg file") from error
