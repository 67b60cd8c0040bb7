"""Finds the objects on images."""

from neurips16.clients.tasks import Task

MIN_SCORE = 0.5  # the threshold wherever none is given: in calls, on the command line, on the page and in `score`

TASK = Task(
    name="detect",
    summary="finds the objects on images",
    group="Images",
    models=("rfcn",),
    calls={"detect": "calls:detect"},
    command={"detect": "command:detect"},
    tab={"detect": "page:TAB"},
    score={"detect": "score:DetectTask"},
    examples=("detect {examples}/cells.jpg --draw {output}",),
)
