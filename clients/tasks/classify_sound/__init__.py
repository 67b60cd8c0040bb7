"""Names what can be heard."""

from neurips16.clients.tasks import Task

TASK = Task(
    name="classify_sound",
    summary="names what can be heard",
    group="Sounds",
    models=("sound_classifier",),
    calls={"classify_sound": "calls:classify_sound"},
    command={"classify-sound": "command:classify_sound"},
    tab={"classify-sound": "page:TAB"},
    score={"classify-sound": "score:ClassifySoundTask"},
    examples=("classify-sound {examples} --top 2",),
)
