from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from neurips16.training.data.deepmath.batches import Statements, TokenStore
from neurips16.training.data.deepmath.module import DeepMathData
from neurips16.training.data.deepmath.reader import normalise
from neurips16.training.data.deepmath.tokens import Tokenizer, words
from neurips16.training.systems.deepmath.network import DeepMath

TINY = {"channels": (6, 8, 10), "strides": (2, 2, 1), "hidden": 12, "embedding_size": 7}


def _data(folder, **options) -> DeepMathData:
    return DeepMathData(str(folder), conjectures_per_batch=4, run_length=2, random_negatives=3, **options)


def _model(data: DeepMathData, **options) -> DeepMath:
    torch.manual_seed(0)
    return DeepMath(data.vocabulary, level=data.level, max_length=data.max_length, **{**TINY, **options})


def _statements(data: DeepMathData, indices: list[int]) -> Statements:
    return Statements(data.store, np.array(indices), max_tokens=1000)


def _batch(data):
    return data.batch(data.conjectures("all")[:4], negatives=True, rng=np.random.default_rng(0))


def test_the_split_predictor_is_the_pairwise_network(deepmath_folder):
    """logit = w2 · relu(W1 [conjecture; premise] + b1) + b2, computed unsplit for every pair."""
    data = _data(deepmath_folder)
    model = _model(data).eval()
    batch = _batch(data)
    first = torch.cat([model.conjecture_encoder.predictor_half.weight, model.premise_encoder.predictor_half.weight], 1)
    conjectures = model.encode(model.conjecture_encoder.encode, batch.conjectures)
    premises = model.encode(model.premise_encoder.encode, batch.premises)
    pairs = torch.cat([conjectures[batch.pairs[:, 0]], premises[batch.pairs[:, 1]]], 1)  # [M, 2F]
    hidden = F.relu(pairs @ first.T + model.conjecture_encoder.predictor_half.bias)
    want = model.scorer.output(hidden).squeeze(1)
    torch.testing.assert_close(model.logits(batch), want)


@pytest.mark.parametrize("level", ["character", "word", "definition"])
@pytest.mark.parametrize("encoder", ["cnn", "lstm", "gru", "cnn_lstm"])
def test_every_variant_trains_every_parameter_that_learns(deepmath_folder, level, encoder):
    data = _data(deepmath_folder, level=level, max_length=60)
    model = _model(data, encoder=encoder)
    model.log_dict = lambda *a, **k: None
    model.training_step(_batch(data), 0).backward()
    learning = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in learning.values())
    assert any(n.endswith("embedding.weight") for n in learning) == (level == "word")


def test_a_few_steps_lower_the_loss(deepmath_folder):
    data = _data(deepmath_folder)
    model = _model(data, channels=(16, 16, 16), hidden=16)
    model.log_dict = lambda *a, **k: None
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    batch = _batch(data)
    losses = []
    for _ in range(40):
        loss = model.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_a_wider_network_starts_as_the_narrower_one_answers(deepmath_folder):
    data = _data(deepmath_folder)
    narrow, wide = _model(data), _model(data, channels=(6, 8, 14), hidden=20)
    wide.start_from(narrow)
    with torch.no_grad():  # what is new is read from nowhere but the new channels of the last convolution
        for tower in (wide.conjecture_encoder, wide.premise_encoder):
            tower.predictor_half.weight[:, 10:] = 0
    batch = _batch(data)
    torch.testing.assert_close(wide.logits(batch), narrow.logits(batch))


def test_frozen_encoders_are_taken_over_and_get_a_new_predictor(deepmath_folder):
    data = _data(deepmath_folder)
    earlier, model = _model(data), _model(data, frozen_encoders=True)
    with torch.no_grad():
        for parameter in earlier.parameters():
            parameter.add_(0.1)
    model.start_from(earlier)
    same = {name for name, weight in earlier.state_dict().items() if torch.equal(weight, model.state_dict()[name])}
    assert same == {name for name in model.state_dict() if ".body." in name}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": (6, 8, 9)}, r"predictor_half.weight of shape \[12, 9\].*shape \[12, 10\]|layers.2"),
        ({"encoder": "lstm"}, "no such layer"),
        ({"vocabulary": ["a"]}, "another vocabulary"),
    ],
)
def test_a_network_that_does_not_fit_is_no_start(deepmath_folder, options, message):
    data = _data(deepmath_folder)
    settings = {"vocabulary": data.vocabulary, **TINY, **options}
    with pytest.raises(ValueError, match=message):
        DeepMath(**settings).start_from(_model(data))


def test_frozen_encoders_answer_the_same_and_only_the_predictor_learns(deepmath_folder):
    data = _data(deepmath_folder)
    model = _model(data, frozen_encoders=True)
    batch = _batch(data)
    want = model.logits(batch)
    model.trainer = SimpleNamespace(datamodule=data)
    model.on_fit_start()
    model.conjecture_encoder.body = model.premise_encoder.body = None  # no longer needed
    torch.testing.assert_close(model.logits(batch), want)
    learning = {name.split(".", 1)[1] for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {"predictor_half.weight", "predictor_half.bias", "output.weight", "output.bias"}


def test_encoding_keeps_the_order_of_the_statements(deepmath_folder):
    data = _data(deepmath_folder)
    model = _model(data).eval()
    lines = data.library.statements[:9]
    together = model.encode_texts(lines, model.premise_encoder)
    for line, row in zip(lines, together, strict=True):
        torch.testing.assert_close(model.encode_texts([line], model.premise_encoder)[0], row)


def test_definition_embeddings_are_the_stage_one_encodings_of_the_definitions(deepmath_folder):
    stage1_data = _data(deepmath_folder)
    stage1 = _model(stage1_data).eval()
    data = _data(deepmath_folder, level="definition", max_length=60)
    model = _model(data, embedding_size=10)
    model.fill_definitions(stage1, data.definitions)
    table = model.premise_encoder.embedding.weight
    assert model.conjecture_encoder.embedding is model.premise_encoder.embedding
    known = data.vocabulary.index("k0_art") + 1
    want = stage1.encode_texts([data.library.statements[0]], stage1.premise_encoder.encode)[0]
    torch.testing.assert_close(table[known], want)
    again = _model(data, embedding_size=10)
    again.fill_definitions(stage1, data.definitions)
    assert torch.equal(table, again.premise_encoder.embedding.weight)  # pseudo-random, but fixed
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
        anchor = model.halves(model.conjecture_encoder, _statements(data, [conjecture.statement]))
        scores = model.scorer(anchor, model.halves(model.premise_encoder, _statements(data, candidates)))
        top = {candidates[i] for i in scores.topk(len(chosen)).indices.tolist()}
        # Of a pool of 400 draws from at most 60 statements hardly any is missing.
        assert len(top & set(chosen.tolist())) >= len(chosen) - 1


def test_text_beyond_the_maximum_length_is_not_read(deepmath_folder):
    data = _data(deepmath_folder, max_length=40)
    model = _model(data).eval()
    line = data.library.statements[2]
    cut = normalise(line)[:40]
    assert len(normalise(line)) > 40
    torch.testing.assert_close(
        model.encode_texts([line], model.premise_encoder), model.encode_texts([cut], model.premise_encoder)
    )


def test_wrong_settings_list_the_right_ones():
    with pytest.raises(ValueError, match="character, word, definition"):
        DeepMath(["a"], level="syllable")
    with pytest.raises(ValueError, match="cnn, lstm, gru, cnn_lstm"):
        DeepMath(["a"], encoder="transformer")


def test_words_keep_brackets_and_arrows():
    assert words(normalise("fof(a, axiom, ( p(X) => q )).")) == ["(", "p", "(", "X", ")", "=>", "q", ")"]
    store = TokenStore([Tokenizer(["p"], "word")("p&p")], 500)
    assert store.padded([0])[0].tolist() == [[1, 0, 1]]
