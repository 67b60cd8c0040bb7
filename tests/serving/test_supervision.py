"""What becomes of a server that ends by itself, and of the models that end it."""

from __future__ import annotations

import json
import struct
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as grpc_client
from google.protobuf.json_format import MessageToDict
from serving_tools import ONE, X_TO_Y, eventually, infer, lookup, put, times
from tritonclient.utils import InferenceServerException

from neurips16.clients import Client
from neurips16.clients.protocol.errors import ModelNotReadyError
from neurips16.serving import TritonServer
from neurips16.serving.triton.admin_token import GRPC_HEADER
from neurips16.serving.triton.in_flight import (
    CRASHED,
    LOADING,
    RUNNING,
    SLOT_BYTES,
    Activity,
    read_activities,
    suspects,
)
from neurips16.serving.triton.loaded_models import read_loaded
from neurips16.serving.triton.quarantine import Quarantine

DEPLOY = Path(__file__).parents[2] / "deploy"
sys.path.insert(0, str(DEPLOY))  # for the package soak
from soak.crashing import add_crashing, build_library  # noqa: E402

sys.path.remove(str(DEPLOY))

X = np.arange(6, dtype=np.float32).reshape(2, 3)
PORTS = {"grpc_port": 0, "http_port": None, "metrics_port": None}

AT_ONCE = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 20)]


def activity(model: str, crashed: bool = False) -> Activity:
    return Activity(model, "1", "'x' [2, 3]", crashed)


class TestInFlight:
    def slot(self, state: int, *texts: str) -> bytes:
        return (struct.pack("<I", state) + b"\0".join(text.encode() for text in texts)).ljust(SLOT_BYTES, b"\0")

    def test_what_ran_is_read_and_what_idled_is_not(self, tmp_path):
        slots = [
            self.slot(1, "idle", "1", "what ran before"),
            self.slot(RUNNING, "busy", "3", "'x' [1, 2]"),
            self.slot(0),
            self.slot(LOADING, "new", "1", "a session"),
        ]
        (tmp_path / "file").write_bytes(b"".join(slots))
        found = read_activities(tmp_path / "file")
        assert found == [Activity("busy", "3", "'x' [1, 2]", False), Activity("new", "1", "a session", False)]
        assert str(found[0]) == "model 'busy' version 3 with 'x' [1, 2]"
        assert suspects(found) == found

    def test_who_crashed_is_the_only_suspect(self, tmp_path):
        slots = [self.slot(RUNNING, "busy", "3", ""), self.slot(CRASHED, "culprit", "1", "'x' [4]")]
        (tmp_path / "file").write_bytes(b"".join(slots))
        assert [one.model for one in suspects(read_activities(tmp_path / "file"))] == ["culprit"]


class TestQuarantine:
    def test_three_crashes_of_its_own_are_too_many(self):
        quarantine = Quarantine()
        for _ in range(2):
            assert quarantine.crashed([activity("bad", crashed=True), activity("busy")]) == []
        assert quarantine.crashed([activity("bad", crashed=True), activity("busy")]) == ["bad"]
        assert quarantine.models.keys() == {"bad"}
        assert "crashed the server 3 times, the last time with 'x' [2, 3]" in quarantine.models["bad"]
        quarantine.release("bad")
        assert quarantine.crashed([activity("bad", crashed=True)]) == []

    def test_where_the_cause_is_unknown_it_is_shared(self):
        quarantine = Quarantine()
        for _ in range(8):
            assert quarantine.crashed([activity("a"), activity("b"), activity("c")]) == []
        assert quarantine.crashed([activity("a"), activity("b"), activity("c")]) == ["a", "b", "c"]


@pytest.fixture
def repository(tmp_path) -> Path:
    put(tmp_path / "models", "double", f"max_batch_size: 8 {X_TO_Y} {ONE}", times(2))
    put(tmp_path / "models", "triple", f"max_batch_size: 8 {X_TO_Y} {ONE}", times(3))
    return tmp_path / "models"


def ensemble(repository: Path) -> str:
    """The name of a model that runs both others, one after the other."""

    def step(model: str, source: str, target: str) -> str:
        maps = f'input_map {{ key: "x" value: "{source}" }} output_map {{ key: "y" value: "{target}" }}'
        return f'step {{ model_name: "{model}" model_version: -1 {maps} }}'

    steps = step("double", "x", "between") + step("triple", "between", "y")
    folder = repository / "both"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(
        f'name: "both" platform: "ensemble" max_batch_size: 8 {X_TO_Y} ensemble_scheduling {{ {steps} }}'
    )
    return folder.name


def narrow(client: grpc_client.InferenceServerClient, model: str) -> str:
    """The configuration of a model, but for batches of three."""
    config = MessageToDict(client.get_model_config(model).config, preserving_proto_field_name=True)
    return json.dumps(config | {"max_batch_size": 3})


def end(server: TritonServer) -> None:
    """Kill the server's process, and wait until another has taken its place."""
    before = server.restarts
    psutil.Process(server.pid).kill()
    assert eventually(lambda: server.restarts == before + 1 and server.ready())


@pytest.mark.triton
class TestServer:
    def test_a_server_that_is_killed_under_load_comes_back(self, needs_triton, repository, caplog):
        with TritonServer(repository, **PORTS) as server, grpc_client.InferenceServerClient(server.url) as client:
            stop, wrong, again = threading.Event(), [], threading.Event()

            def ask_on() -> None:
                while not stop.is_set():
                    try:
                        answer = infer(client, "double", {"x": X})["y"]
                    except InferenceServerException:
                        time.sleep(0.02)
                        continue
                    if not np.array_equal(answer, X * 2):
                        wrong.append(answer)
                    elif server.restarts:
                        again.set()

            threads = [threading.Thread(target=ask_on) for _ in range(2)]
            for thread in threads:
                thread.start()
            end(server)
            answered = again.wait(60)
            stop.set()
            for thread in threads:
                thread.join()
        assert answered
        assert not wrong
        assert "Triton ended by itself with status -9" in caplog.text

    def test_what_was_unloaded_stays_unloaded_and_what_cannot_load_is_said(self, needs_triton, repository, caplog):
        put(repository, "broken_later", f"max_batch_size: 8 {X_TO_Y} {ONE}", times(4))
        with TritonServer(repository, **PORTS) as server, grpc_client.InferenceServerClient(server.url) as client:
            client.unload_model("triple", headers={GRPC_HEADER: server.admin_token})
            assert eventually(lambda: "triple" not in server.loaded_models())  # it goes when it has no request left
            (repository / "broken_later/1/model.onnx").write_bytes(b"no model")
            before = server.restarts
            psutil.Process(server.pid).kill()
            assert eventually(lambda: server.restarts == before + 1)
            assert not server.ready()
            assert client.is_model_ready("double")
            assert not client.is_model_ready("triple")
        assert "model 'broken_later' version 1 did not load" in caplog.text

    def test_what_an_admin_loaded_is_loaded_again_with_its_configuration_and_files(self, needs_triton, repository):
        with (
            TritonServer(repository, **PORTS, model_control="explicit") as server,
            grpc_client.InferenceServerClient(server.url) as client,
        ):
            admin = {GRPC_HEADER: server.admin_token}
            fields = json.dumps({"name": "x", "data_type": "TYPE_FP32", "dims": [-1]})
            own = f"""{{"backend": "onnxruntime", "max_batch_size": 3, "input": [{fields}],
                "output": [{fields.replace('"x"', '"y"')}]}}"""
            content = times(7).SerializeToString()
            client.load_model("triple", headers=admin)
            client.load_model("double", headers=admin, config=own, files={"file:1/model.onnx": content})
            client.load_model("unlike", headers=admin, config=own, files={"file:4/model.onnx": content})
            for _ in range(2):
                np.testing.assert_array_equal(infer(client, "triple", {"x": X})["y"], X * 3)
                for model in ("double", "unlike"):
                    np.testing.assert_array_equal(infer(client, model, {"x": X})["y"], X * 7)
                    assert client.get_model_config(model).config.max_batch_size == 3
                end(server)
            client.unload_model("unlike", headers=admin)
            assert eventually(lambda: "unlike" not in server.loaded_models())  # it goes when it has no request left
            end(server)
            assert not client.is_model_ready("unlike")

    def test_what_an_admin_loaded_is_at_no_moment_the_repositorys(self, needs_triton, repository):
        with (
            TritonServer(repository, **PORTS) as server,
            grpc_client.InferenceServerClient(server.url, channel_args=AT_ONCE) as client,
        ):
            admin = {GRPC_HEADER: server.admin_token}
            files = {"file:1/model.onnx": times(7).SerializeToString()}
            client.load_model("double", headers=admin, config=narrow(client, "double"))
            client.load_model("triple", headers=admin, config=narrow(client, "triple"), files=files)
            stop, wrong = threading.Event(), []

            def ask_on() -> None:
                """Five rows are too many for an admin's models, and not for the repository's."""
                while not stop.is_set():
                    for model in ("double", "triple"):
                        try:
                            infer(client, model, {"x": np.ones((5, 2), np.float32)})
                        except InferenceServerException:
                            continue
                        wrong.append(model)

            thread = threading.Thread(target=ask_on)
            thread.start()
            end(server)
            stop.set()
            thread.join()
            assert not wrong
            np.testing.assert_array_equal(infer(client, "double", {"x": X})["y"], X * 2)
            np.testing.assert_array_equal(infer(client, "triple", {"x": X})["y"], X * 7)

    def test_an_ensemble_with_an_admins_parts_and_configuration_comes_back(self, needs_triton, repository):
        both = ensemble(repository)
        with (
            TritonServer(repository, **PORTS) as server,
            grpc_client.InferenceServerClient(server.url, channel_args=AT_ONCE) as client,
        ):
            admin = {GRPC_HEADER: server.admin_token}
            files = {"file:1/model.onnx": times(7).SerializeToString()}
            client.load_model(both, headers=admin, config=narrow(client, both))
            client.load_model("double", headers=admin, config=narrow(client, "double"))
            client.load_model("triple", headers=admin, config=narrow(client, "triple"), files=files)
            seen = server._keeper.asked
            assert eventually(lambda: server._keeper.asked > seen + 1)  # for what our backend does not note
            end(server)
            for model, factor in (("double", 2), ("triple", 7), (both, 14)):
                np.testing.assert_array_equal(infer(client, model, {"x": X})["y"], X * factor)
                assert client.get_model_config(model).config.max_batch_size == 3

    def test_what_cannot_be_loaded_as_it_was_is_plainly_not_ready(self, needs_triton, repository, caplog):
        with (
            TritonServer(repository, **PORTS) as server,
            grpc_client.InferenceServerClient(server.url, channel_args=AT_ONCE) as client,
        ):
            client.load_model("double", headers={GRPC_HEADER: server.admin_token}, config=narrow(client, "double"))
            tensors = """input { name: "index" data_type: TYPE_INT64 dims: -1 }
                output { name: "value" data_type: TYPE_FP32 dims: -1 }"""
            put(repository, "double", f"max_batch_size: 8 {tensors} {ONE}", lookup())  # which is as good
            before = server.restarts
            psutil.Process(server.pid).kill()
            assert eventually(lambda: server.restarts == before + 1)
            assert not server.ready()
            with grpc_client.InferenceServerClient(server.url, channel_args=AT_ONCE) as later:
                assert not later.is_model_ready("double")
                assert later.is_model_ready("triple")
        assert "model 'double' cannot be loaded again as it was, and is not served: " in caplog.text

    def test_an_ensemble_is_loaded_again(self, needs_triton, repository):
        ensemble(repository)
        with (
            TritonServer(repository, **PORTS, model_control="explicit") as server,
            grpc_client.InferenceServerClient(server.url) as client,
        ):
            client.load_model("both", headers={GRPC_HEADER: server.admin_token})
            np.testing.assert_array_equal(infer(client, "both", {"x": X})["y"], X * 6)
            seen = server._keeper.asked
            assert eventually(lambda: server._keeper.asked > seen + 1)  # for what our backend does not note
            end(server)
            np.testing.assert_array_equal(infer(client, "both", {"x": X})["y"], X * 6)


@pytest.fixture(scope="module")
def crashing_library(tmp_path_factory) -> Path:
    library = build_library(tmp_path_factory.mktemp("library"))
    if library is None:
        pytest.skip("the crashing operator needs g++ and the headers of deploy/onnxruntime_headers.sh")
    return library


@pytest.mark.triton
def test_a_model_that_crashes_the_server_is_named_and_after_three_times_left_out(
    needs_triton, repository, crashing_library, caplog, monkeypatch
):
    model = add_crashing(repository, crashing_library)
    noted, crashed = [], Quarantine.crashed

    def note(self, activities):
        noted.extend((one.model, one.crashed) for one in activities)
        return crashed(self, activities)

    monkeypatch.setattr(Quarantine, "crashed", note)
    with (
        TritonServer(repository, **PORTS, op_libraries=[str(crashing_library)]) as server,
        grpc_client.InferenceServerClient(server.url) as client,
    ):
        for time_ in range(3):
            np.testing.assert_array_equal(infer(client, model, {"x": X})["y"], X)
            with pytest.raises(InferenceServerException):
                infer(client, model, {"x": X - 1})
            assert eventually(lambda time_=time_: server.restarts == time_ + 1 and server.ready())
        assert server.models == {"double", "triple"}
        assert server.quarantined.keys() == {model}
        assert not client.is_model_ready(model)
        assert not client.is_server_ready()
        with Client(server.url, headers={GRPC_HEADER: server.admin_token}) as asking:
            (said,) = [status for status in asking.models() if status.name == model]
            assert not said.ready
            assert "in quarantine, it crashed the server 3 times, the last time with 'x' [2, 3]" in said.reason
            with pytest.raises(ModelNotReadyError, match="loading it by name brings it back"):
                asking.infer(model, {"x": X})
        np.testing.assert_array_equal(infer(client, "double", {"x": X})["y"], X * 2)

        client.load_model(model, headers={GRPC_HEADER: server.admin_token})
        assert eventually(lambda: not server.quarantined)
        assert client.is_server_ready()
        np.testing.assert_array_equal(infer(client, model, {"x": X})["y"], X)
        with pytest.raises(InferenceServerException):
            infer(client, model, {"x": X - 1})
        assert eventually(lambda: server.restarts == 4 and server.ready())  # one crash more is the first again
        np.testing.assert_array_equal(infer(client, model, {"x": X})["y"], X)
    assert noted == 4 * [(model, True)]  # so none is blamed of others that run at that moment
    assert "Triton ended by itself with status -11, at model 'soak_crashing' version 1 with 'x' [2, 3]" in caplog.text
    assert "model 'soak_crashing' is not served any more: it crashed the server 3 times" in caplog.text


def test_a_record_that_the_crash_cut_off_is_passed_over(tmp_path):
    (tmp_path / "1.json").write_text('{"model": "a", "config": {}}')
    (tmp_path / "2.json").write_text('{"model": "b", "con')
    (tmp_path / "10.json").write_text('{"model": "a", "config": {"max_batch_size": 2}}')
    assert {name: model.config for name, model in read_loaded(tmp_path).items()} == {"a": {"max_batch_size": 2}}
