"""Says how new the rows of a table are, by counting what is like them."""

from neurips16.clients.tasks import Task

TASK = Task(
    name="novelty",
    summary="says how new rows of numbers are",
    group="Decisions",
    models=("simhash",),
    calls={"novelty": "calls:novelty"},
    command={"novelty": "command:novelty"},
    tab={"novelty": "page:TAB"},
    examples=("novelty {examples}/visits.npy --bits 10 --top 5",),
)
