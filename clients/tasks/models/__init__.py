"""What a server holds, and asking any of its models."""

from neurips16.clients.tasks import Task

TASK = Task(
    name="models",
    summary="lists, loads and asks the models of a server",
    group="Any model",
    calls={
        "server_ready": "calls:server_ready",
        "require_server_ready": "calls:require_server_ready",
        "metadata": "calls:metadata",
        "models": "calls:models",
        "model_config": "calls:model_config",
        "infer": "calls:infer",
        "load": "calls:load",
        "unload": "calls:unload",
        "statistics": "calls:statistics",
    },
    command={"models": "command:models", "infer": "infer_command:infer"},
    examples=("models",),
)
