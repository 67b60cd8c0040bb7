"""The client's methods of ranking, measured as the client computes them."""

from __future__ import annotations

from typing import get_args

import numpy as np

from neurips16.clients.tasks.rank_premises.calls import Method
from neurips16.clients.tasks.rank_premises.neighbours import Neighbours, Proofs, SymbolTable, combine
from neurips16.clients.tasks.rank_premises.words import word_hashes
from neurips16.training.data.deepmath.reader import Conjecture, Library, normalise
from neurips16.training.metrics.premise_ranking import Ranker

METHODS = get_args(Method)


class MethodRanker:
    """A network's scores with what the library says beside them: an index of it with the training split's proofs.

    Args:
        method: see `Client.rank_premises`.
        library: whose statements are indexed; only proofs of what stands before a conjecture vote for it.
        network: scores by the network alone; its logits stay as they are.
    """

    def __init__(self, method: str, library: Library, network: Ranker):
        self._method, self._network = method, network
        self._hashes = [word_hashes(normalise(statement)) for statement in library.statements]
        proofs = Proofs.of((c.statement, int(i)) for c in library.select("train") for i in c.useful)
        self._neighbours = Neighbours([SymbolTable.of(self._hashes)], proofs)

    def scores(self, conjecture: Conjecture, premises: np.ndarray) -> np.ndarray:
        """See `Ranker`."""
        similarity = self._neighbours.similarity(self._hashes[conjecture.statement])
        votes = self._neighbours.votes(similarity, conjecture.statement)
        network = self._network.scores(conjecture, premises)
        return combine(self._method, network, similarity[premises], None if votes is None else votes[premises])

    def logits(self, conjecture: Conjecture, premises: np.ndarray) -> np.ndarray:
        """See `Ranker`."""
        return self._network.logits(conjecture, premises)
