"""Names whole images, by any model that does."""

from neurips16.clients.tasks import Task

TASK = Task(
    name="classify_image",
    summary="names whole images",
    group="Images",
    calls={"classify_image": "calls:classify_image"},
    command={"classify-image": "command:classify_image"},
    tab={"classify-image": "page:TAB"},
    score={"classify-image": "score:ClassifyImageTask"},
)
