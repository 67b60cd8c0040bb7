"""The sub-command `neurips16 mixing-time`: how many updates a Gibbs sampler needs, by scan order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

TRACED_CHAINS, TRACED_SWEEPS = 8, 1000  # of a model that is too large to enumerate
LARGEST_DRAWN = 5  # curves of orders beside random scan in one picture


@dataclass(frozen=True)
class Scan:
    """One way of scanning, and what it costs."""

    name: str
    order: list[int] | None
    updates: float  # until mixed; or, of a large model, for each effective draw


def mixing_time(
    model: Annotated[str, typer.Argument(metavar="MODEL.json|example:NAME:SIZE", help="Such as example:pyramid:8.")],
    orders: Annotated[str, typer.Option(help="Also all orders of the variables, or so many random ones.")] = "0",
    epsilon: Annotated[float, typer.Option(help="The total variation at which a chain is mixed.")] = 0.25,
    lazy: Annotated[bool, typer.Option("--lazy", help="Also the lazy scan, and the theorem's bounds.")] = False,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw total variation over updates (.png, .svg).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed of random orders and of the sampler.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """How many updates does Gibbs sampling need, and in which order are the variables best visited?

    Exact for models of at most 4096 states; else by the autocorrelation of the sampler's own draws.
    """
    from neurips16.training.errors import InvalidModelError
    from neurips16.training.systems.gibbs.examples import example
    from neurips16.training.systems.gibbs.models import LARGEST_TABLE, Table, read_model

    if orders != "all" and not orders.isdecimal():
        raise InvalidModelError(f"--orders is a number, or all: got {orders!r}")
    count = None if orders == "all" else int(orders)
    found = example(model.removeprefix("example:")) if model.startswith("example:") else read_model(Path(model))
    if isinstance(found, Table) or found.states**found.variables <= LARGEST_TABLE:
        table = found if isinstance(found, Table) else found.table()
        result = exact(table, count, epsilon=epsilon, lazy=lazy, seed=seed, picture=picture, title=model)
    elif picture is not None or lazy:
        raise InvalidModelError(f"--picture and --lazy are for models of at most {LARGEST_TABLE} states")
    else:
        result = sampled(found, count, seed=seed)
    typer.echo(json.dumps(result)) if as_json else _print(result)


def exact(
    table: Any,
    count: int | None,
    *,
    epsilon: float,
    lazy: bool,
    seed: int = 0,
    picture: Path | None = None,
    title: str = "",
) -> dict[str, Any]:
    """What is known of a table's chain: times of random scan and of orders, best and worst, conductance, bounds.

    Raises:
        InvalidModelError: the chain does not connect, or there would be too many orders or states.
    """
    from neurips16.training.systems.gibbs import mixing
    from neurips16.training.systems.gibbs.chain import Chain

    chain = Chain(table)
    scans = [Scan("random", None, mixing.random_time(chain, epsilon))]
    for name, order in _candidates(chain.variables, count, seed).items():
        scans.append(Scan(name, order, mixing.systematic_time(chain, order, epsilon)))
    cut = mixing.conductance(chain.stationary, chain.random)
    result = {
        "kind": "exact",
        "states": chain.size,
        "variables": chain.variables,
        "epsilon": epsilon,
        "random": scans[0].updates,
        "systematic": scans[1].updates,
        **_summary(scans),
        "conductance": {"value": cut.value, "exact": cut.exact},
    }
    if lazy:
        time = mixing.lazy_time(chain, range(chain.variables), epsilon)
        pair = mixing.bounds(chain, int(scans[0].updates), time, epsilon)
        result["lazy"] = time
        result["bounds"] = [{"left": bound.left, "right": bound.right, "holds": bound.holds} for bound in pair]
    if picture is not None:
        _draw(chain, scans, epsilon, picture, title)
        result["picture"] = str(picture)
    return result


def sampled(model: Any, count: int | None, *, seed: int = 0) -> dict[str, Any]:
    """The same question of a large Potts model: updates for each effective draw, as ArviZ judges the sampler's draws.

    Raises:
        InvalidModelError: there would be too many orders.
    """
    import arviz

    from neurips16.training.systems.gibbs.sampler import sample

    ways: dict[str, tuple[str, list[int] | None]] = {"random": ("random", None), "shuffled": ("shuffled", None)}
    for name, order in _candidates(model.variables, count, seed).items():
        ways[name] = ("systematic", order)
    updates = TRACED_CHAINS * TRACED_SWEEPS * model.variables
    scans = []
    for name, (scan, visited) in ways.items():
        drawn = sample(
            model, scan=scan, order=visited, chains=TRACED_CHAINS, burn_in=TRACED_SWEEPS // 4, sweeps=TRACED_SWEEPS,
            seed=seed, trace=True,
        )  # fmt: skip
        assert drawn.trace is not None
        moving = [i for i in range(model.variables) if drawn.trace[:, :, i].std() > 0]
        draws = [float(arviz.ess(drawn.trace[:, :, i].astype(float), method="mean")) for i in moving]
        scans.append(Scan(name, visited, updates / min(draws) if draws else float("inf")))
    return {
        "kind": "sampled",
        "variables": model.variables,
        "chains": TRACED_CHAINS,
        "sweeps": TRACED_SWEEPS,
        **_summary(scans),
    }


def _candidates(variables: int, count: int | None, seed: int) -> dict[str, list[int]]:
    """The orders to try, each once: those with names, and all others or so many random ones."""
    from neurips16.training.systems.gibbs.mixing import named_orders, orders

    named = named_orders(variables)
    others = {order: " ".join(map(str, order)) for order in orders(variables, count, seed)}
    return {**named, **{name: list(order) for order, name in others.items() if list(order) not in named.values()}}


def _summary(scans: Sequence[Scan]) -> dict[str, Any]:
    ordered = [scan for scan in scans if scan.order is not None]
    best, worst = (pick(ordered, key=lambda scan: scan.updates) for pick in (min, max))
    overall = min(scans, key=lambda scan: scan.updates)
    named = {scan.name: scan.updates for scan in scans if not scan.name[0].isdecimal()}
    return {
        "updates": named,
        "orders": len(ordered),
        "best": {"updates": best.updates, "order": best.order},
        "worst": {"updates": worst.updates, "order": worst.order},
        "recommended": {"scan": overall.name, "updates": overall.updates, "order": overall.order},
    }


def _print(result: Mapping[str, Any]) -> None:
    from neurips16.clients.tables import print_table

    exactly = result["kind"] == "exact"
    what = "updates" if exactly else "updates for an effective draw"
    rows = [(name, _shown(value)) for name, value in result["updates"].items()]
    if result["orders"] > len(rows):
        rows += [
            (f"{which} of {result['orders']} orders", _shown(result[which]["updates"])) for which in ("best", "worst")
        ]
    if "lazy" in result:
        rows.append(("lazy", _shown(result["lazy"])))
    print_table({"scan": "left", what: "right"}, rows)
    for bound in result.get("bounds", ()):
        typer.echo(f"bound: {bound['left']:.4g} <= {bound['right']:.4g}, {'holds' if bound['holds'] else 'is broken'}")
    if exactly:
        cut = result["conductance"]
        typer.echo(f"conductance of random scan: {'' if cut['exact'] else 'at most '}{cut['value']:.4g}")
    chosen = result["recommended"]
    order = "" if chosen["order"] is None else f", order {' '.join(map(str, chosen['order']))}"
    typer.echo(f"recommended: {chosen['scan']} scan{order}: {_shown(chosen['updates'])} {what}")
    if "picture" in result:
        typer.echo(f"wrote {result['picture']}")


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.1f}"


def _draw(chain: Any, scans: Sequence[Scan], epsilon: float, path: Path, title: str) -> None:
    from matplotlib.figure import Figure

    from neurips16.training.errors import InvalidModelError
    from neurips16.training.systems.gibbs.mixing import curve

    ordered = sorted((scan for scan in scans[1:]), key=lambda scan: scan.updates)
    unique = list({scan.updates: scan for scan in reversed(ordered)}.values())[::-1]
    shown = [scans[0], *unique[: LARGEST_DRAWN - 1], *unique[LARGEST_DRAWN - 1 :][-1:]]
    reach = int(1.5 * max(scan.updates for scan in shown)) + 1
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for scan in shown:
        steps, distances = curve(chain, scan.order, reach)
        axes.plot(steps, distances, label=f"{scan.name}: {scan.updates}", lw=2 if scan.order is None else 1.3)
    axes.axhline(epsilon, color="grey", lw=0.8, ls=":")
    axes.set(xlabel="updates", ylabel="total variation, worst start", title=title, xlim=(0, reach), ylim=(0, 1))
    axes.legend(title="scan: updates until mixed", frameon=False)
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise InvalidModelError(f"{path} cannot be written: {error}; name a .png or an .svg file") from error
