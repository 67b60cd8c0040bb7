import typer

from neurips16.clients.protocol.operation import Stream
from toy_task.calls import spell


def spell_text(text: str) -> None:
    """Spell a text; no server is asked."""
    stream = Stream(spell(text), lambda calls: iter(()))
    for letter in stream:
        typer.echo(letter)
    typer.echo(stream.result)
