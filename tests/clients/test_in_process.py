"""The models in this process answer as they do behind a server."""

from __future__ import annotations

import numpy as np
import pytest

from neurips16.clients import Client, in_process
from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import (
    InvalidInputError,
    InvalidRequestError,
    ModelNotFoundError,
    ResourceExhaustedError,
    UnsupportedError,
)
from neurips16.clients.protocol.messages import SequenceStep
from neurips16.clients.protocol.operation import single
from neurips16.clients.tasks.rank_premises.calls import rank_premises
from neurips16.export.spec import EXACT, StateSpec

from .scoring_models import write_model, write_repository

_ADD = """
<ir_version: 10, opset_import: ["": 20]>
add (float[N,2] x) => (float[N,2] y) {{
    k = Constant <value_float = {0}> ()
    y = Add (x, k)
}}"""


_LOUDEST = """
<ir_version: 10, opset_import: ["": 20]>
loudest (float[N,L] x) => (float[N,1] place) {
    index = ArgMax <axis = 1> (x)
    place = Cast <to = 1> (index)
}"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = write_repository(tmp_path_factory.mktemp("models"))
    for version, text in ((2, "2.0"), (10, "10.0")):
        write_model(folder, "add", _ADD.format(text), {}, version=version)
    write_model(folder, "loudest", _LOUDEST, {})
    (folder / "add/11").mkdir()  # holds no model yet
    return folder


@pytest.fixture
def local(repository):
    return LocalClient(repository)


def infer(client, model, inputs, **options):
    return client.run(single(messages.infer(model, inputs, **options)))


def test_the_newest_version_answers(local):
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(infer(local, "add", {"x": x})["y"], x + 10)
    assert local.model("add").version == "10"


def test_an_operation_gives_the_same_as_through_a_server(local, scoring_server):
    premises = ["q(b)", "! [X] : p(X)", "a = b"]
    with Client(scoring_server.url) as client:
        assert local.run(rank_premises("p(a)", premises)) == client.run(rank_premises("p(a)", premises))
        config = client.model_config("rfcn")
    assert local.run(single(messages.model_config("rfcn"))) == config
    assert {t.name: (t.dtype, t.dims) for t in config.inputs} == {"image": ("UINT8", (-1, -1, 3))}


def test_what_a_server_would_refuse(local):
    with pytest.raises(ModelNotFoundError, match="has no model 'nothing': it has add, loudest, premise_encoder"):
        infer(local, "nothing", {})
    for inputs in ({"x": np.zeros((1, 3), np.float32)}, {"x": np.zeros((1, 2))}, {"z": np.zeros((1, 2))}, {}):
        with pytest.raises(InvalidRequestError, match="model 'add' refused its input"):
            infer(local, "add", inputs)
    with pytest.raises(InvalidRequestError, match="it has no output w"):
        infer(local, "add", {"x": np.zeros((1, 2), np.float32)}, outputs=["w"])
    with pytest.raises(InvalidRequestError, match="holds texts"):
        infer(local, "add", {"x": np.array([["a", "b"]])})
    with pytest.raises(InvalidRequestError, match=r"inputs of no elements, as 'x' \[2, 0\]"):
        infer(local, "loudest", {"x": np.zeros((2, 0), np.float32)})
    with pytest.raises(UnsupportedError, match="ModelStatistics is a server's"):
        local.statistics()


def test_what_is_no_model(repository, tmp_path):
    with pytest.raises(InvalidInputError, match="is no folder"):
        LocalClient(tmp_path / "none")
    broken = tmp_path / "broken/1/model.onnx"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no model")
    with pytest.raises(InvalidInputError, match="cannot load"):
        LocalClient(tmp_path).model("broken")
    with pytest.raises(InvalidInputError, match="cannot load"):
        LocalClient(repository, op_library=tmp_path / "no.so").model("add")
    import onnx

    onnx.save(onnx.parser.parse_model(_ADD.format("1.0")), broken)
    with pytest.raises(InvalidInputError, match="carries no specification"):
        LocalClient(tmp_path).model("broken")


_SUM = """
<ir_version: 10, opset_import: ["": 20]>
sum (float[N,2] x, float[N,2] sum_in) => (float[N,2] y, float[N,2] sum_out) {
    sum_out = Add (x, sum_in)
    y = Identity (sum_out)
}"""
_STATE = StateSpec("sum_in", "sum_out", "FP32", (2,), EXACT, initial=0.5)


class TestSequences:
    @pytest.fixture
    def local(self, tmp_path):
        write_model(tmp_path, "sum", _SUM, {}, states=(_STATE,))
        return LocalClient(tmp_path)

    def step(self, local, value, sequence, *, start=False, end=False):
        x = np.full((1, 2), value, np.float32)
        return infer(local, "sum", {"x": x}, sequence=SequenceStep(sequence, start, end))["y"][0, 0]

    def test_each_keeps_its_own_state_from_its_start_to_its_end(self, local):
        assert self.step(local, 1, 7, start=True) == 1.5
        assert self.step(local, 10, "seven", start=True) == 10.5
        assert self.step(local, 2, 7) == 3.5
        assert self.step(local, 20, "seven") == 30.5
        assert self.step(local, 3, 7, end=True) == 6.5
        assert self.step(local, 1, "seven", start=True) == 1.5  # begins again
        with pytest.raises(InvalidRequestError, match="sequence 7 is not known"):
            self.step(local, 1, 7)

    def test_a_request_of_no_sequence_or_of_several_rows_is_refused(self, local):
        with pytest.raises(InvalidRequestError, match="which sequence it belongs to"):
            infer(local, "sum", {"x": np.zeros((1, 2), np.float32)})
        with pytest.raises(InvalidRequestError, match="has one row"):
            infer(local, "sum", {"x": np.zeros((2, 2), np.float32)}, sequence=SequenceStep(1, start=True))

    def test_they_are_bounded_in_number_and_forgotten_when_idle(self, local, monkeypatch):
        monkeypatch.setattr(in_process, "MAX_SEQUENCES", 2)
        now = [0.0]
        local.model("sum").sequences._clock = lambda: now[0]
        self.step(local, 1, 1, start=True)
        self.step(local, 1, 2, start=True)
        with pytest.raises(ResourceExhaustedError, match="2 sequences are under way"):
            self.step(local, 1, 3, start=True)
        now[0] = in_process.MAX_SEQUENCE_IDLE_S + 1
        assert self.step(local, 1, 3, start=True) == 1.5
        assert len(local.model("sum").sequences) == 1


def test_what_a_server_tells_of_itself(local):
    assert local.server_ready() is True
    listed = {status.name: (status.version, status.ready) for status in local.models()}
    assert listed["add"] == ("10", True)
    assert local.model_config("add").outputs[0].name == "y"
    local.load("add")
    loaded = local.model("add")
    assert local.model("add") is loaded
    local.unload("add")
    assert local.model("add") is not loaded
    with pytest.raises(ModelNotFoundError):
        local.load("nothing")
