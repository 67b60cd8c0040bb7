"""Ranks premises by how much they help to prove a conjecture, and proves it with them."""

from neurips16.clients.tasks import Task

TASK = Task(
    name="rank_premises",
    summary="ranks premises by how much they help to prove a conjecture",
    group="Logic",
    models=("premise_encoder", "premise_ranker"),
    calls={"rank_premises": "calls:rank_premises"},
    command={
        "rank-premises": "command:rank_premises",
        "index-premises": "command:index_premises",
        "prove": "command:prove",
    },
    tab={"rank-premises": "page:TAB"},
    score={"rank-premises": "score:RankPremisesTask"},
    examples=(
        "rank-premises --conjecture {examples}/conjecture.p --premises {examples}/premises.p --top 5",
        "index-premises {examples}/premises.p {output}/library.index",
        "prove --conjecture {examples}/conjecture.p --index {output}/library.index --top 3,10",
    ),
)
