from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from neurips16.export.errors import EvaluationError
from neurips16.export.options import parse_options
from neurips16.export.registry import Target, find_export
from neurips16.export.run_export import run_export
from neurips16.export.spec import read_spec
from neurips16.export.systems.deepmath import proof_runs
from neurips16.export.systems.deepmath.inputs import text_batch, word_batch
from neurips16.export.systems.deepmath.models import SAMPLE_STATEMENTS
from neurips16.export.systems.deepmath.readers import FormulaReader, WordReader
from neurips16.training.data.deepmath.module import DeepMathData
from neurips16.training.data.deepmath.reader import Conjecture, normalise, read_library
from neurips16.training.data.deepmath.tokens import Tokenizer
from neurips16.training.system import load_module
from neurips16.training.systems.deepmath.network import DeepMath
from neurips16.training.systems.deepmath.usage_memory import UsageMemory

VOCABULARY = sorted(set("".join(map(normalise, SAMPLE_STATEMENTS))) | set("tra0123456789kXYZ"))


def _save(model, path):
    about = {"system": "deepmath", "epoch": 0, "step": 0, "metrics": {}}
    torch.save({"neurips16": about, "hyper_parameters": dict(model.hparams), "state_dict": model.state_dict()}, path)
    return path


def _network(folder, level, encoder="cnn"):
    torch.manual_seed(0)
    data = DeepMathData(str(folder), level=level, max_length=120)
    sizes = {"channels": (6, 8, 10), "hidden": 12, "rank_size": 10, "pair_size": 6, "embedding_size": 7}
    model = DeepMath(data.vocabulary, data.feature_count, data.remembered, level, encoder, max_length=120, **sizes)
    if model.memory is not None:
        model.features.fill(data.features)
        model.memory.fill(data.usage.table)
        torch.nn.init.normal_(model.towers.premise.usage.weight, std=0.3)
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, deepmath_folder):
    """A tiny network with random weights, as `neurips16 train` would have saved it."""
    return _save(_network(deepmath_folder, "features"), tmp_path_factory.mktemp("checkpoint") / "model.ckpt")


@pytest.fixture(scope="module")
def repository(checkpoint, deepmath_folder, tmp_path_factory):
    """The tiny network's two models, exported with every gate."""
    folder = tmp_path_factory.mktemp("export") / "models"
    published = run_export("deepmath", checkpoint, folder, data=deepmath_folder)
    assert [p.parent.name for p in published] == ["premise_encoder", "premise_ranker"]
    return folder


LINES = [
    *SAMPLE_STATEMENTS,
    " fof( a , conjecture , p ( X , Y ) ) . ",
    "fof(a, axiom, p",
    "p, q, r).",
    "fof(no_commas).",
    "x",
    "fof(long, axiom, " + "p & " * 100 + "p).",
    "cnf(c, axiom, ~ p | q).",
    "\tp\n&\tq\n",
]


def test_the_graph_reads_what_the_training_reads():
    reader = FormulaReader(VOCABULARY, max_length=120)
    tokenizer = Tokenizer(VOCABULARY, "character")
    tokens, lengths = reader(torch.from_numpy(text_batch(LINES)))
    for line, row, length in zip(LINES, tokens, lengths, strict=True):
        want = tokenizer(normalise(line))[:120]
        assert length == len(want), line
        assert row[:length].tolist() == want.tolist(), line
        assert (row[length:] == -1).all()


def test_an_empty_text_is_read_as_nothing():
    tokens, lengths = FormulaReader(VOCABULARY, 120)(torch.zeros(2, 3, dtype=torch.uint8))
    assert lengths.tolist() == [0, 0]
    assert (tokens == -1).all()


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch's own
def test_keys_of_long_statements_are_exact_in_the_graph(tmp_path):
    class Keys(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.memory = UsageMemory(1)

        def forward(self, low):
            return self.memory.keys(low)

    low = torch.from_numpy(np.random.default_rng(0).integers(0, 1 << 32, (20, 300)))
    program = torch.onnx.export(Keys().eval(), (low,), dynamo=True, verbose=False)
    program.save(tmp_path / "keys.onnx")
    session = ort.InferenceSession(tmp_path / "keys.onnx", providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {session.get_inputs()[0].name: low.numpy()})
    assert got.max() > 1 << 53  # where doubles, by which ONNX Runtime sums, have gaps
    np.testing.assert_array_equal(got, Keys()(low).numpy())


def test_the_graph_reads_words_as_the_training_does():
    vocabulary = ["p", "*", "v1_even", "=>"]
    tokenizer = Tokenizer(vocabulary, "word")
    tokens, lengths = WordReader(vocabulary, 30)(torch.from_numpy(word_batch(LINES)))
    for line, row, length in zip(LINES, tokens, lengths, strict=True):
        want = tokenizer(normalise(line))[:30]
        assert length == len(want), line
        assert row[:length].tolist() == want.tolist(), line
        assert (row[length:] == -1).all()


@pytest.mark.slow
def test_the_published_models_say_what_they_are(repository, checkpoint):
    specs = {name: read_spec(repository / name / "1/model.onnx") for name in ("premise_encoder", "premise_ranker")}
    encoder = specs["premise_encoder"]
    assert encoder.parameters["build"] == specs["premise_ranker"].parameters["build"]
    assert encoder.parameters["max_length"] == "120"
    report = json.loads((repository / "premise_encoder/1/parity.json").read_text())
    assert report["passed"]
    allowed = {name: metric["allowed_loss"] for name, metric in report["metrics"]["onnx"].items()}
    assert allowed == {"pair_accuracy": 0.002, "amrr": 0.0005, "recall_at_64": 0.002}


def _session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.mark.slow
def test_zeros_behind_the_words_and_neighbours_change_nothing(repository):
    session = _session(repository / "premise_encoder/1/model.onnx")
    padded = np.pad(word_batch(LINES[:4]), ((0, 0), (0, 300)))
    together = session.run(None, {"words": padded})
    for i, line in enumerate(LINES[:4]):
        alone = session.run(None, {"words": word_batch([line])})
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a[i], b[0], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_table_is_stored_once_and_in_half_precision(repository, checkpoint):
    graph = onnx.load(repository / "premise_encoder/1/model.onnx").graph
    shapes = [tuple(weight.dims) for weight in graph.initializer]
    table = load_module(checkpoint).features.table
    assert shapes.count(tuple(table.shape)) == 1
    assert not any(
        w.data_type == onnx.TensorProto.INT64 and len(w.dims) and w.dims[0] > 1000 for w in graph.initializer
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["premise_encoder", "premise_ranker"])
def test_other_runtimes_give_the_same_answers(repository, name):
    path = repository / name / "1/model.onnx"
    rng = np.random.default_rng(0)
    if name == "premise_encoder":
        inputs = {"words": word_batch(LINES[:5])}
    else:
        inputs = {
            "conjecture": rng.normal(size=(2, 19)).astype(np.float32),
            "premises": rng.normal(size=(2, 3, 19)).astype(np.float32),
        }
    want = _session(path).run(None, inputs)
    assert {node.domain for node in onnx.load(path).graph.node} == {""}
    # OpenVINO's CPU plugin computes INT64 as INT32, so it cannot read hashes of words.
    runtimes = [_reference] if "words" in inputs else [_reference, _openvino]
    for runtime in runtimes:
        for a, b in zip(runtime(path, inputs), want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def _reference(path, inputs):
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(onnx.load(path)).run(None, inputs)


def _openvino(path, inputs):
    openvino = pytest.importorskip("openvino", reason="OpenVINO is in the dev extra")
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answer = compiled(inputs)
    return [answer[output] for output in compiled.outputs]


@pytest.mark.slow
def test_the_metrics_are_the_same_at_the_checkpoint_and_at_each_exported_file(repository, checkpoint, deepmath_folder):
    system = find_export("deepmath")
    before = system.evaluate(Target(checkpoint=checkpoint), deepmath_folder, "all", {})
    assert before["conjectures"] == 40
    assert 0 <= before["pair_accuracy"] <= 1
    assert "recall_at_16" in before
    for name in ("premise_encoder", "premise_ranker"):
        after = system.evaluate(Target(model=repository / name / "1/model.onnx"), deepmath_folder, "all", {})
        assert after == pytest.approx(before, abs=0.01)


def test_baselines_answer_with_the_same_names(deepmath_folder):
    for name in ("counts", "knn"):
        metrics = find_export("deepmath").evaluate(Target(baseline=name), deepmath_folder, "all", {})
        assert {"pair_accuracy", "amrr", "recall_at_1024"} <= set(metrics)
    # Useful premises share the conjecture's symbol, so neighbours by symbols find them.
    assert metrics["amrr"] < 0.5


def test_what_cannot_be_measured_is_refused(deepmath_folder):
    system = find_export("deepmath")
    with pytest.raises(EvaluationError, match="it has: --sample"):
        parse_options(["--smaple", "3"], system)
    with pytest.raises(EvaluationError, match="number over 0"):
        system.evaluate(Target(baseline="knn"), deepmath_folder, "all", {"sample": "-1"})
    with pytest.raises(EvaluationError, match="counts, knn"):
        system.evaluate(Target(baseline="nothing"), deepmath_folder, "all", {})


def test_options_may_be_given_both_ways():
    assert parse_options(["--sample", "3", "--ranking=no"], find_export("deepmath")) == {"sample": "3", "ranking": "no"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("level", "encoder", "operator", "count"),  # of both encoders
    [
        ("character", "cnn", "Conv", 6),
        ("word", "cnn", "ReduceMax", 2),
        ("definition", "cnn", "ReduceMax", 2),
        ("word", "lstm", "LSTM", 2),
        ("word", "gru", "GRU", 2),
        ("character", "cnn_lstm", "LSTM", 2),
    ],
)
def test_every_encoder_of_the_paper_is_exported(deepmath_folder, tmp_path, level, encoder, operator, count):
    network = _network(deepmath_folder, level, encoder)
    for parameter in network.encoders.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # recurrent layers begin with weights that hardly say anything
    checkpoint = _save(network, tmp_path / "model.ckpt")
    folder = tmp_path / "models"
    run_export("deepmath", checkpoint, folder, no_data=True)
    spec = read_spec(folder / "premise_encoder/1/model.onnx")
    assert [tensor.name for tensor in spec.inputs] == ["text" if level == "character" else "words"]
    kinds = [node.op_type for node in onnx.load(folder / "premise_encoder/1/model.onnx").graph.node]
    assert kinds.count(operator) == count
    assert "Loop" not in kinds
    lines = [*read_library(deepmath_folder).statements[:7], "p", ""]
    name, pack = ("text", text_batch) if level == "character" else ("words", word_batch)
    got = _session(folder / "premise_encoder/1/model.onnx").run(["premise_embedding"], {name: pack(lines)})[0]
    want = load_module(checkpoint).embed_texts("premise", lines).numpy()
    np.testing.assert_allclose(got, want, rtol=1e-2, atol=2e-2)  # weights are stored as FP16


@pytest.mark.data
def test_real_statements_are_read_alike(real_deepmath):
    statements = read_library(real_deepmath).statements[::400]
    vocabulary = sorted(set("".join(map(normalise, statements))))
    reader, tokenizer = FormulaReader(vocabulary, 2048), Tokenizer(vocabulary, "character")
    tokens, lengths = reader(torch.from_numpy(text_batch(statements)))
    for line, row, length in zip(statements, tokens, lengths, strict=True):
        assert row[:length].tolist() == tokenizer(normalise(line))[:2048].tolist()


@pytest.mark.skipif(shutil.which("eprover") is None, reason="needs the E prover: apt-get install eprover")
def test_runs_of_e_are_counted_logged_and_not_made_again(deepmath_folder, tmp_path, monkeypatch):
    system, log = find_export("deepmath"), tmp_path / "runs.jsonl"
    options = {"seed": "1", "ranking": "no", "prove": "4,all", "timeout-s": "1", "log": str(log)}

    def measure(sample):
        return system.evaluate(Target(baseline="knn"), deepmath_folder, "all", options | {"sample": str(sample)})

    first = measure(3)
    runs = [json.loads(line) for line in log.read_text().splitlines()]
    assert len({run["conjecture"] for run in runs}) == 3
    assert [run["k"] for run in runs] == [4, "all"] * 3
    for k in (4, "all"):
        assert first[f"proved_at_{k}"] == pytest.approx(sum(run["proved"] for run in runs if run["k"] == k) / 3)
    monkeypatch.setattr(proof_runs, "prove", None)  # E would be asked again
    assert measure(3) == first
    assert measure(2)["conjectures"] == 2  # the start of the same sample


@pytest.mark.skipif(shutil.which("eprover") is None, reason="needs the E prover: apt-get install eprover")
def test_e_proves_from_what_is_ranked_first(deepmath_folder, tmp_path):
    library = read_library(deepmath_folder)
    last = library.conjectures[-1]
    goal = Conjecture(last.name, last.statement, last.useful, last.useless)

    class Copy:
        """Ranks first what the conjecture follows from: here a premise that states more."""

        def scores(self, conjecture, premises):
            return -premises.astype(float)

    statements = list(library.statements)
    statements[0] = f"fof({library.names[0]}, axiom, (({normalise(statements[goal.statement])}) & extra))."
    changed = dataclasses.replace(library, statements=statements)
    log = tmp_path / "runs.jsonl"
    assert proof_runs.ProofRuns(changed, Copy(), 2, log).proved([goal], [1]) == {"proved_at_1": 1.0}
    assert json.loads(log.read_text())["premises"] == [library.names[0]]
    log.write_text("nonsense\n")
    with pytest.raises(EvaluationError, match="line 1 is no run of E"):
        proof_runs.ProofRuns(changed, Copy(), 2, log)
