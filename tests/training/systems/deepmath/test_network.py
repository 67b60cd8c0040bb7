from __future__ import annotations

import numpy as np
import pytest
import torch

from neurips16.training.data.deepmath.batches import Statements
from neurips16.training.data.deepmath.module import DeepMathData
from neurips16.training.data.deepmath.reader import normalise
from neurips16.training.systems.deepmath.network import DeepMath
from neurips16.training.systems.deepmath.usage_memory import usage_features

TINY = {
    "channels": (6, 8, 10),
    "strides": (2, 2, 1),
    "hidden": 12,
    "rank_size": 10,
    "pair_size": 6,
    "embedding_size": 7,
}


def _data(folder, **options) -> DeepMathData:
    return DeepMathData(str(folder), conjectures_per_batch=4, random_premises=6, **options)


def _model(data: DeepMathData, **options) -> DeepMath:
    torch.manual_seed(0)
    settings = {**TINY, **options}
    model = DeepMath(
        data.vocabulary, data.feature_count, data.remembered, data.level, max_length=data.max_length, **settings
    )
    if data.level == "features":
        model.features.fill(data.features)
        model.memory.fill(data.usage.table)
    model.log = model.log_dict = lambda *a, **k: None
    return model


def _statements(data: DeepMathData, indices) -> Statements:
    return Statements(data.store, np.array(indices), max_tokens=1000)


def _batch(data):
    return data.batch(data.conjectures("all")[:4], np.random.default_rng(0))


@pytest.mark.parametrize("level", ["features", "character", "word", "definition"])
@pytest.mark.parametrize("encoder", ["cnn", "lstm", "gru", "cnn_lstm"])
def test_every_variant_trains_every_parameter_that_learns(deepmath_folder, level, encoder):
    data = _data(deepmath_folder, level=level, max_length=60)
    model = _model(data, encoder=encoder)
    loss = model.training_step(_batch(data), 0)
    loss.backward()
    learning = {n: p for n, p in model.named_parameters() if p.requires_grad}
    # A constant added to all scores of a conjecture ranks nothing, but the same layer has the pair's bias.
    assert all(p.grad is not None for p in learning.values())
    assert all(
        torch.isfinite(p.grad.coalesce().values() if p.grad.is_sparse else p.grad).all() for p in learning.values()
    )
    assert any(n.endswith("embedding.weight") for n in learning) == (level == "word")
    model.configure_gradient_clipping(None)
    optimizer = model.configure_optimizers()["optimizer"]
    optimizer.step()


def test_scores_and_logits_are_products_of_the_two_parts(deepmath_folder):
    data = _data(deepmath_folder, level="features")
    model = _model(data).eval()
    encodings = model.encode("premise", _statements(data, [3, 9]))
    towers = model.towers
    usage = usage_features(torch.tensor([[3, 1], [0, 2]]))
    (rc, qc, bc), (rp, qp, bp) = towers.conjecture(encodings), towers.premise(encodings, usage)
    left, right = towers.conjectures(encodings), towers.premises(encodings, usage)
    size = towers.rank_size
    torch.testing.assert_close(left[:, :size] @ right[:, :size].T, towers.scales[0] * rc @ rp.T + bp[:, 0])
    torch.testing.assert_close(left[:, size:] @ right[:, size:].T, towers.scales[1] * qc @ qp.T + bc[:, 1:] + bp[:, 1])


def test_the_score_begins_as_a_similarity(deepmath_folder):
    data = _data(deepmath_folder, level="features")
    model = _model(data, embedding_size=32, rank_size=32, hidden=32).eval()
    group, size = _statements(data, range(60)), model.towers.rank_size
    scores = model.embed("conjecture", group)[:, :size] @ model.embed("premise", group)[:, :size].T
    assert (scores.diagonal() >= scores.max(dim=1).values - 1e-4).float().mean() > 0.8


@pytest.mark.parametrize("level", ["features", "character"])
def test_a_few_steps_lower_the_loss(deepmath_folder, level):
    data = _data(deepmath_folder, level=level)
    model = _model(data, channels=(16, 16, 16), hidden=16, learning_rate=5e-3)
    optimizer = model.configure_optimizers()["optimizer"]
    batch = _batch(data)
    losses = []
    for _ in range(40):
        loss = model.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_clipping_leaves_the_table_alone(deepmath_folder):
    data = _data(deepmath_folder, level="features")
    model = _model(data, gradient_clip=1e-3)
    model.training_step(_batch(data), 0).backward()
    table = model.features.table.grad.coalesce().values().clone()
    model.configure_gradient_clipping(None)
    torch.testing.assert_close(model.features.table.grad.coalesce().values(), table)
    dense = [p.grad for p in model.parameters() if not p.grad.is_sparse]
    assert torch.linalg.vector_norm(torch.cat([g.flatten() for g in dense])) <= 1.01e-3


@pytest.mark.parametrize("level", ["features", "character", "word"])
def test_statements_keep_their_order_and_are_read_as_in_training(deepmath_folder, level):
    data = _data(deepmath_folder, level=level)
    model = _model(data).eval()
    lines = data.library.statements[:9]
    together = model.embed_texts("premise", lines)
    for line, row in zip(lines, together, strict=True):
        torch.testing.assert_close(model.embed_texts("premise", [line])[0], row)
    torch.testing.assert_close(model.embed("premise", _statements(data, range(9))), together)


def test_definition_embeddings_are_the_stage_one_encodings_of_the_definitions(deepmath_folder):
    stage1_data = _data(deepmath_folder)
    stage1 = _model(stage1_data).eval()
    data = _data(deepmath_folder, level="definition", max_length=60)
    model = _model(data, embedding_size=10)
    model.fill_definitions(stage1, data.definitions)
    table = model.encoders["premise"].embedding.weight
    assert model.encoders["conjecture"].embedding is model.encoders["premise"].embedding
    known = data.vocabulary.index("k0_art") + 1
    want = stage1.encode("premise", _statements(stage1_data, [0]))[0]
    torch.testing.assert_close(table[known], want)
    again = _model(data, embedding_size=10)
    again.fill_definitions(stage1, data.definitions)
    assert torch.equal(table, again.encoders["premise"].embedding.weight)  # pseudo-random, but fixed
    with pytest.raises(ValueError, match="stage 1 encodes to 10"):
        _model(data).fill_definitions(stage1, data.definitions)


def test_mined_negatives_are_the_highest_ranked_that_are_not_useful(deepmath_folder):
    data = _data(deepmath_folder)
    model = _model(data).eval()
    conjectures = data.conjectures("all")
    mined = model.mine(data.store, conjectures, pool=400, keep=3, seed=0)
    known = np.unique(np.concatenate([np.concatenate([c.useful, c.useless]) for c in conjectures]))
    for conjecture in conjectures[:5]:
        chosen = mined[conjecture.statement]
        assert 1 <= len(chosen) <= 3
        assert max(chosen) < conjecture.statement
        assert not set(chosen) & set(conjecture.useful)
        candidates = [i for i in known if i < conjecture.statement and i not in set(conjecture.useful)]
        anchor = model.embed("conjecture", _statements(data, [conjecture.statement]))[0]
        size = model.towers.rank_size
        scores = model.embed("premise", _statements(data, candidates))[:, :size] @ anchor[:size]
        top = {candidates[i] for i in scores.topk(len(chosen)).indices.tolist()}
        # Of a pool of 400 draws from at most 60 statements hardly any is missing.
        assert len(top & set(chosen.tolist())) >= len(chosen) - 1


def test_text_beyond_the_maximum_length_is_not_read(deepmath_folder):
    data = _data(deepmath_folder, max_length=40)
    model = _model(data).eval()
    line = data.library.statements[2]
    cut = normalise(line)[:40]
    assert len(normalise(line)) > 40
    torch.testing.assert_close(model.embed_texts("premise", [line]), model.embed_texts("premise", [cut]))


def test_wrong_settings_list_the_right_ones():
    with pytest.raises(ValueError, match="features, character, word, definition"):
        DeepMath(["a"], level="syllable")
    with pytest.raises(ValueError, match="cnn, lstm, gru, cnn_lstm"):
        DeepMath(["a"], encoder="transformer")
