"""A task of another package: spells a text, letter by letter, and asks no model."""

from neurips16.clients.tasks import Task

TASK = Task(
    name="spell",
    summary="spells texts",
    group="Toys",
    calls={"spell": "calls:spell"},
    command={"spell-text": "command:spell_text"},
    tab={"spell": "page:TAB"},
    score={"spell": "score:SpellTask"},
    examples=("spell-text hello",),
)
