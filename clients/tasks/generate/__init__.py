"""Draws pictures: of latent codes, of one digit in the style of another, and of what a classifier's unit prefers."""

from neurips16.clients.tasks import Task

TASK = Task(
    name="generate",
    summary="draws pictures",
    group="Pictures",
    models=("infogan", "infogan_encoder", "disentangle", "disentangle_decoder", "dgn_am"),
    calls={
        "generate": "calls:generate",
        "read_codes": "calls:read_codes",
        "swap_style": "calls:swap_style",
        "interpolate": "calls:interpolate",
        "preferred_input": "calls:preferred_input",
    },
    command={"generate": "command:generate", "read-codes": "command:read_codes"},
    tab={"codes": "page:CODES", "style-swap": "page:SWAPPED", "preferred-inputs": "page:CLIMB"},
    examples=(
        "generate infogan --category 3 --continuous=-0.5,0.5 --count 8 --seed 7 --output {output}/threes.png",
        "read-codes {examples}/1-three-bold.png {examples}/2-seven-slanted.png",
        "generate infogan --traverse 0 --output {output}/traversal.png",
        "generate disentangle --style {examples}/1-three-bold.png --style {examples}/3-two-turned.png "
        "--content {examples}/2-seven-slanted.png --content {examples}/4-five-small.png --output {output}/swapped.png",
        "generate disentangle --style {examples}/1-three-bold.png --content {examples}/2-seven-slanted.png "
        "--interpolate 6 --output {output}/between.png",
        "generate dgn-am --unit 7 --steps 200 --output {output}/ascent.gif",
    ),
)
