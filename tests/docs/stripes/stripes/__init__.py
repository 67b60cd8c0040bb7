"""Says which way the stripes of an image run: a task of its own for neurips16."""

from neurips16.clients.tasks import Task

TASK = Task(
    name="name_stripes",
    summary="says which way stripes run",
    group="Images",
    models=("stripes",),
    calls={"name_stripes": "calls:name_stripes"},
    command={"name-stripes": "command:name_stripes"},
    tab={"name-stripes": "page:TAB"},
    score={"name-stripes": "score:NameStripesTask"},
)
