"""Loss and gradient of linear networks, and how far they are from the best."""

from neurips16.clients.tasks import Task

TASK = Task(
    name="linear_landscape",
    summary="says how far linear networks are from the best",
    group="Decisions",
    models=("linear_landscape",),
    calls={"linear_landscape": "calls:linear_landscape"},
    examples=("landscape {examples}/saddle.onnx --data {examples}/data.npz --picture {output}/saddle.png",),
)
