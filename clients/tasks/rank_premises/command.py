"""The sub-commands about premises: `rank-premises`, `index-premises` and `prove`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import typer

from neurips16.clients.protocol.command_options import JsonOption, Server, asks_server

if TYPE_CHECKING:
    from neurips16.clients.protocol.operation import Stream
    from neurips16.clients.tasks.rank_premises.calls import Method, PremiseRanking, RankedPremise
    from neurips16.clients.tasks.rank_premises.statements import Statement

T = TypeVar("T")
NOT_PROVED_STATUS = 3  # nothing went wrong, but there is no proof
ConjectureOption = Annotated[
    Path,
    typer.Option(
        "--conjecture", metavar="FILE", help="A file with one statement, or a whole problem of TPTP. - is stdin."
    ),
]
PremisesOption = Annotated[
    Path | None,
    typer.Option("--premises", metavar="FILE", help="A file of TPTP, or with one statement a line; - for stdin."),
]
MethodOption = Annotated[
    str,
    typer.Option(
        metavar="METHOD", help="network (what the model learnt), neighbours (similar statements), or hybrid (both)."
    ),
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
    method: MethodOption = "hybrid",
    as_json: JsonOption = False,
) -> None:
    """Rank premises by how useful each looks for a proof of a conjecture."""
    from neurips16.clients.tasks.rank_premises.statements import read_problem

    goal, axioms = read_problem(conjecture)
    ranking = _ranked(goal, premises, index, server, axioms=axioms, top_k=top, method=method)
    if as_json:
        typer.echo(json.dumps({"premises": [dataclasses.asdict(premise) for premise in ranking]}))
    else:
        _print_ranking(ranking)


@asks_server
def index_premises(
    server: Server,
    premises: Annotated[Path, typer.Argument(metavar="FILE", help="Statements, one a line; - is stdin.")],
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="The index (a folder) to make or to add to.")],
    proofs: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Known proofs, one a line: the statement's name, then its premises' names."),
    ] = None,
) -> None:
    """Encode premises once and keep them: makes an index, or adds to it the statements that it lacks.

    Known proofs, such as `neurips16 prove --log` writes, let similar statements vote for their premises.
    """
    from neurips16.clients.tasks.rank_premises.calls import grow_index
    from neurips16.clients.tasks.rank_premises.statements import read_premises, read_proofs

    statements = read_premises(premises)
    known = read_proofs(proofs) if proofs else {}
    with server.client() as client:
        grown = _with_progress(client.stream(grow_index(index, statements)), len(statements))
    _note_truncation(grown.truncated, f"{grown.index.max_length} {grown.index.unit}", premises)
    typer.echo(f"{index} holds {len(grown.index)} premises, {len(grown.added)} of them new (build {grown.index.build})")
    if known:
        _, pairs = grown.index.add_proofs(known)
        typer.echo(f"{len(known)} proofs tell it {pairs} new uses of premises")


@asks_server
def prove(
    server: Server,
    conjecture: ConjectureOption,
    premises: PremisesOption = None,
    index: IndexOption = None,
    top: Annotated[
        str, typer.Option(metavar="K,K,...", help="Numbers of best premises to try, all at the same time.")
    ] = "16,64,256,1024",
    timeout_s: Annotated[float, typer.Option("--timeout-s", help="Seconds for all attempts together.")] = 5.0,
    method: MethodOption = "hybrid",
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append the names of the proof's premises to this file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Prove a conjecture with the E theorem prover from the premises that are ranked best.

    The conjecture itself is never among them and, with an index that holds a statement of its name, neither is
    anything after that statement: in a library, later statements may be proved with earlier ones. Ends with status 3
    where no proof is found.
    """
    from neurips16.clients.tasks.rank_premises.prover import find_prover, prove_slices
    from neurips16.clients.tasks.rank_premises.statements import read_problem

    find_prover()
    tops = _numbers(top)
    goal, axioms = read_problem(conjecture)
    ranking = _ranked(goal, premises, index, server, axioms=axioms, top_k=max(tops), for_proof=True, method=method)
    if ranking.excluded:
        _note(f"{ranking.excluded} premises were left out: the conjecture itself, and in an index all after it")
    slices = sorted({min(k, len(ranking)) for k in tops})
    results = prove_slices(goal, [premise.text for premise in ranking], slices, timeout_s=timeout_s)
    attempts = [
        {"k": k, "status": result.status, "seconds": round(result.seconds, 3)}
        for k, result in zip(slices, results, strict=True)
    ]
    if not as_json:
        for k, result in zip(slices, results, strict=True):
            typer.echo(f"{goal.name or 'conjecture'} from the best {k}: {result.status} ({result.seconds:.2f} s)")
    # Of several proofs, the one from the fewest premises.
    k, result = next(((k, r) for k, r in zip(slices, results, strict=True) if r.proved), (slices[-1], results[-1]))
    used = [ranking[place] for place in result.used_places]
    if log and result.proved:
        with log.open("a", encoding="utf-8") as file:
            file.write(" ".join([goal.name or "conjecture", *result.used]) + "\n")
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "proved": result.proved,
                    "k": k if result.proved else None,
                    "seconds": round(max(r.seconds for r in results), 3),
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
    axioms: list[Statement],
    top_k: int | None,
    method: str,
    for_proof: bool = False,
) -> PremiseRanking:
    """Rank the premises of a file, an index or else the problem itself, and say what was not read to the end."""
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
    elif axioms and premises is None and index is None:
        candidates = axioms
        to_encode = len({statement.code for statement in candidates})
    else:
        raise InvalidInputError(
            "name the premises: either --premises FILE or --index INDEX, or a conjecture's file that has axioms"
        )
    with server.client() as client:
        stream = client.stream(
            operation(goal, candidates, top_k=top_k, for_proof=for_proof, method=cast("Method", method))
        )
        ranking = _with_progress(stream, to_encode)
    if ranking.conjecture_truncated:
        _note(
            f"the conjecture is longer than the {ranking.max_length} {ranking.unit} that the model reads, its end was "
            f"cut off"
        )
    if ranking.unlike_training:
        _note(
            f"the model saw nothing like the conjecture: it knows {ranking.known_share:.0%} of its symbols, so the "
            "ranking goes by the symbols that premises share with it"
        )
    if premises:
        _note_truncation(ranking.truncated, f"{ranking.max_length} {ranking.unit}", premises)
    elif ranking.truncated and index is None:
        _note(
            f"{len(ranking.truncated)} axioms are longer than the {ranking.max_length} {ranking.unit} that the model "
            f"reads, their ends were cut off"
        )
    elif ranking.truncated:
        _note(
            f"{len(ranking.truncated)} of the {len(candidates)} premises in {index} are longer than the "
            f"{ranking.max_length} {ranking.unit} that the model reads, their ends were cut off when they were indexed"
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


def _note_truncation(truncated: Sequence[int], length: str, source: Path) -> None:
    """Say which lines of a file the model did not read to the end."""
    if truncated:
        _note(
            f"{len(truncated)} premises are longer than the {length} that the model reads, their ends were cut off: "
            f"lines {_ranges([index + 1 for index in truncated])} of {source}"
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
