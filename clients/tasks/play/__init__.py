"""Plays an environment by a hierarchy: one model picks goals, the other acts towards them."""

from neurips16.clients.tasks import Task

TASK = Task(
    name="play",
    summary="plays an environment by goals",
    group="Decisions",
    models=("hdqn_meta", "hdqn_controller"),
    calls={
        "choose_goals": "calls:choose_goals",
        "choose_actions": "calls:choose_actions",
        "policy": "calls:policy",
    },
    command={"play": "command:play"},
    tab={"play": "page:TAB"},
    examples=("play neurips16/Chain-v0 --episodes 5 --gif {output}/chain.gif",),
)
