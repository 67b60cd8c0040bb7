"""Draws from pairwise models by Gibbs sampling."""

from neurips16.clients.tasks import Task

TASK = Task(
    name="draw_states",
    summary="draws from pairwise models by Gibbs sampling",
    group="Decisions",
    models=("gibbs_sampler",),
    calls={"draw_states": "calls:draw_states"},
    examples=("mixing-time example:pyramid:8 --lazy --picture {output}/pyramid.png",),
)
