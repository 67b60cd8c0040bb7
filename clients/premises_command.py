"""The sub-commands about premises: `rank-premises`, `index-premises` and `prove`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from neurips16.clients.models_command import JsonOption, UrlOption

if TYPE_CHECKING:
    from neurips16.clients.premise_index import PremiseIndex
    from neurips16.clients.premises import PremiseRanking
    from neurips16.clients.statements import Statement

ConjectureOption = Annotated[
    Path, typer.Option("--conjecture", metavar="FILE", help="A file with one statement: fof(name, role, formula).")
]
PremisesOption = Annotated[
    Path | None, typer.Option("--premises", metavar="FILE", help="A file with one statement a line.")
]
IndexOption = Annotated[
    Path | None, typer.Option("--index", metavar="INDEX", help="An index made by `neurips16 index-premises`.")
]


def rank_premises(
    conjecture: ConjectureOption,
    premises: PremisesOption = None,
    index: IndexOption = None,
    top: Annotated[int | None, typer.Option(min=1, metavar="K", help="Show the best K only.")] = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """Rank premises by how useful the model thinks each is to prove a conjecture."""
    from neurips16.clients.client import Client
    from neurips16.clients.premises import rank
    from neurips16.clients.statements import read_conjecture

    goal, candidates = read_conjecture(conjecture), _candidates(premises, index)
    with Client(url) as client, _progress(0 if index else len({s.code for s in candidates})) as advance:
        ranking = client.run(rank(goal, candidates, top_k=top, progress=advance))
    _note_conjecture(ranking)
    _note_truncation(ranking.truncated, ranking.max_length, premises or index)
    if as_json:
        typer.echo(json.dumps({"premises": [dataclasses.asdict(premise) for premise in ranking]}))
    else:
        _print_ranking(ranking)


def index_premises(
    premises: Annotated[Path, typer.Argument(metavar="PREMISES_FILE", help="A file with one statement a line.")],
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="The index (a folder) to make or to grow.")],
    url: UrlOption = None,
) -> None:
    """Encode premises once and keep them: makes an index, or adds to it the statements that it lacks."""
    from neurips16.clients.client import Client
    from neurips16.clients.premises import grow_index
    from neurips16.clients.statements import read_premises

    statements = read_premises(premises)
    with Client(url) as client, _progress(len(statements)) as advance:
        grown = client.run(grow_index(index, statements, progress=advance))
    _note_truncation(grown.truncated, grown.index.max_length, premises)
    typer.echo(f"{index} holds {len(grown.index)} premises, {len(grown.added)} of them new (build {grown.index.build})")


def _candidates(premises: Path | None, index: Path | None) -> Sequence[Statement] | PremiseIndex:
    """The premises of a file or of an index, whichever was named."""
    from neurips16.clients.errors import InvalidInputError
    from neurips16.clients.premise_index import PremiseIndex
    from neurips16.clients.statements import read_premises

    if premises is not None and index is None:
        return read_premises(premises)
    if index is not None and premises is None:
        return PremiseIndex.open(index)
    raise InvalidInputError("name the premises: either --premises FILE or --index INDEX")


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where that is a terminal; yields what moves it on."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not (total and console.is_terminal)) as progress:
        task = progress.add_task("encoding premises", total=total)
        yield lambda number: progress.update(task, advance=number)


def _note_truncation(truncated: Sequence[int], max_length: int, source: Path) -> None:
    """Say which premises the model did not read to the end: lines count from 1, places in an index from 0."""
    if truncated:
        places = f"places {_ranges(truncated)}" if source.is_dir() else f"lines {_ranges([i + 1 for i in truncated])}"
        _note(
            f"{len(truncated)} premises are longer than the {max_length} characters that the model reads (white space "
            f"not counted), their ends were cut off: {places} of {source}"
        )


def _note_conjecture(ranking: PremiseRanking) -> None:
    if ranking.conjecture_truncated:
        _note(
            f"the conjecture is longer than the {ranking.max_length} characters that the model reads (white space not "
            f"counted), its end was cut off"
        )


def _note(text: str) -> None:
    typer.echo(f"note: {text}", err=True)


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers as people write them: 3, 7-9."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][-1] == number - 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ", ".join("-".join(map(str, part)) for part in parts)


def _print_ranking(ranking: PremiseRanking) -> None:
    from neurips16.clients.tables import print_table

    print_table(
        {"rank": "right", "score": "right", "index": "right", "premise": "left"},
        ((str(p.rank), f"{p.score:.3f}", str(p.index), p.text.strip()) for p in ranking),
    )
