"""Turns statements into vectors."""

from neurips16.clients.tasks import Task

TASK = Task(
    name="embed",
    summary="turns statements into vectors",
    group="Logic",
    models=("premise_encoder",),
    calls={"embed": "calls:embed"},
    command={"embed": "command:embed"},
    tab={"embed": "page:TAB"},
    score={"embed": "score:EmbedTask"},
    examples=("embed {examples}/statements.p --output {output}/vectors.npy",),
)
