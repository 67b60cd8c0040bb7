"""The sub-commands about premises: `rank-premises`, `index-premises` and `prove`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from neurips16.clients.protocol.command_options import JsonOption, Server, asks_server

if TYPE_CHECKING:
    from neurips16.clients.protocol.operation import Stream
    from neurips16.clients.tasks.rank_premises.calls import PremiseRanking, RankedPremise
    from neurips16.clients.tasks.rank_premises.statements import Statement

T = TypeVar("T")
NOT_PROVED_STATUS = 3  # nothing went wrong, but there is no proof
ConjectureOption = Annotated[
    Path,
    typer.Option(
        "--conjecture", metavar="FILE", help="A file with one statement: fof(name, role, formula). - is stdin."
    ),
]
PremisesOption = Annotated[
    Path | None, typer.Option("--premises", metavar="FILE", help="A file with one statement a line; - for stdin.")
]
IndexOption = Annotated[
    Path | None, typer.Option("--index", metavar="INDEX", help="An index made by `neurips16 index-premises`.")
]


@asks_server
def rank_premises(
    server: Server,
    conjecture: ConjectureOption,
    premises: PremisesOption = None,
    index: IndexOption = None,
    top: Annotated[int | None, typer.Option(min=1, metavar="K", help="Show the best K only.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Rank premises by how useful the model thinks each is to prove a conjecture."""
    from neurips16.clients.tasks.rank_premises.statements import read_conjecture

    ranking = _ranked(read_conjecture(conjecture), premises, index, server, top_k=top)
    if as_json:
        typer.echo(json.dumps({"premises": [dataclasses.asdict(premise) for premise in ranking]}))
    else:
        _print_ranking(ranking)


@asks_server
def index_premises(
    server: Server,
    premises: Annotated[Path, typer.Argument(metavar="FILE", help="Statements, one a line; - is stdin.")],
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="The index (a folder) to make or to grow.")],
) -> None:
    """Encode premises once and keep them: makes an index, or adds to it the statements that it lacks."""
    from neurips16.clients.tasks.rank_premises.calls import grow_index
    from neurips16.clients.tasks.rank_premises.statements import read_premises

    statements = read_premises(premises)
    with server.client() as client:
        grown = _with_progress(client.stream(grow_index(index, statements)), len(statements))
    _note_truncation(grown.truncated, grown.index.max_length, premises)
    typer.echo(f"{index} holds {len(grown.index)} premises, {len(grown.added)} of them new (build {grown.index.build})")


@asks_server
def prove(
    server: Server,
    conjecture: ConjectureOption,
    premises: PremisesOption = None,
    index: IndexOption = None,
    top: Annotated[
        str, typer.Option(metavar="K,K,...", help="How many of the best premises to try, one after the other.")
    ] = "64,128,256",
    timeout_s: Annotated[float, typer.Option("--timeout-s", help="Seconds for each try.")] = 5.0,
    as_json: JsonOption = False,
) -> None:
    """Prove a conjecture with the E theorem prover from the premises that the model ranks best.

    The conjecture itself is never among them and, with an index that holds a statement of its name, neither is
    anything after that statement: in a library, later statements may be proved with earlier ones. Ends with status 3
    where no proof is found.
    """
    from neurips16.clients.tasks.rank_premises.prover import find_prover
    from neurips16.clients.tasks.rank_premises.prover import prove as run_prover
    from neurips16.clients.tasks.rank_premises.statements import read_conjecture

    find_prover()
    tops = _numbers(top)
    goal = read_conjecture(conjecture)
    ranking = _ranked(goal, premises, index, server, top_k=max(tops), for_proof=True)
    if ranking.excluded:
        _note(f"{ranking.excluded} premises were left out: the conjecture itself, and in an index all after it")
    attempts: list[dict[str, Any]] = []
    used: list[RankedPremise] = []
    for k in sorted({min(k, len(ranking)) for k in tops}):
        result = run_prover(goal, [premise.text for premise in ranking[:k]], timeout_s=timeout_s)
        attempts.append({"k": k, "status": result.status, "seconds": round(result.seconds, 3)})
        if not as_json:
            typer.echo(f"{goal.name or 'conjecture'} from the best {k}: {result.status} ({result.seconds:.2f} s)")
        if result.proved:
            used = [ranking[place] for place in result.used_places]
            break
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "proved": result.proved,
                    "k": k if result.proved else None,
                    "seconds": round(sum(attempt["seconds"] for attempt in attempts), 3),
                    "premises": [
                        dataclasses.asdict(premise) | {"name": name}
                        for name, premise in zip(result.used, used, strict=True)
                    ],
                    "attempts": attempts,
                    "proof": result.text,
                }
            )
        )
    elif result.proved:
        typer.echo(f"The proof uses {len(used)} premises:")
        _print_ranking(used)
    else:
        typer.echo("Not proved. More premises (--top) or more time (--timeout-s) may help.")
    if not result.proved:
        raise typer.Exit(NOT_PROVED_STATUS)


def _numbers(text: str) -> list[int]:
    from neurips16.clients.protocol.errors import InvalidInputError

    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise InvalidInputError(f"--top is numbers over 0 with commas between them, such as 64,128,256, got {text!r}")
    return [int(word) for word in words]


def _ranked(
    goal: Statement,
    premises: Path | None,
    index: Path | None,
    server: Server,
    *,
    top_k: int | None,
    for_proof: bool = False,
) -> PremiseRanking:
    """Rank the premises of a file or of an index, whichever was named, and say what was not read to the end."""
    from neurips16.clients.protocol.errors import InvalidInputError
    from neurips16.clients.tasks.rank_premises.calls import rank_premises as operation
    from neurips16.clients.tasks.rank_premises.premise_index import PremiseIndex
    from neurips16.clients.tasks.rank_premises.statements import read_premises

    candidates: list[Statement] | PremiseIndex
    if premises is not None and index is None:
        candidates = read_premises(premises)
        to_encode = len({statement.code for statement in candidates})
    elif index is not None and premises is None:
        candidates = PremiseIndex.open(index)
        to_encode = 0
    else:
        raise InvalidInputError("name the premises: either --premises FILE or --index INDEX")
    with server.client() as client:
        stream = client.stream(operation(goal, candidates, top_k=top_k, for_proof=for_proof))
        ranking = _with_progress(stream, to_encode)
    if ranking.conjecture_truncated:
        _note(
            f"the conjecture is longer than the {ranking.max_length} characters that the model reads (white space not "
            f"counted), its end was cut off"
        )
    if premises:
        _note_truncation(ranking.truncated, ranking.max_length, premises)
    elif ranking.truncated:
        _note(
            f"{len(ranking.truncated)} of the {len(candidates)} premises in {index} are longer than the "
            f"{ranking.max_length} characters that the model reads, their ends were cut off when they were indexed"
        )
    return ranking


def _with_progress(stream: Stream[T], total: int) -> T:
    """What an operation that encodes returns; a bar on stderr meanwhile, where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not (total and console.is_terminal)) as progress:
        task = progress.add_task("encoding statements", total=total)
        for encoded in stream:
            progress.update(task, advance=encoded.count)
    return stream.result


def _note_truncation(truncated: Sequence[int], max_length: int, source: Path) -> None:
    """Say which lines of a file the model did not read to the end."""
    if truncated:
        _note(
            f"{len(truncated)} premises are longer than the {max_length} characters that the model reads (white space "
            f"not counted), their ends were cut off: lines {_ranges([index + 1 for index in truncated])} of {source}"
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


def _print_ranking(ranking: Sequence[RankedPremise]) -> None:
    from neurips16.clients.tables import print_table

    print_table(
        {"rank": "right", "score": "right", "index": "right", "premise": "left"},
        ((str(p.rank), f"{p.score:.3f}", str(p.index), p.text.strip()) for p in ranking),
    )
