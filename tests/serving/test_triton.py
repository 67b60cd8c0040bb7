"""The server as a whole: how it starts, comes back, refuses and stops."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import tritonclient.grpc as grpc_client
from serving_tools import ONE, X_TO_Y, infer, put, times

from neurips16.serving import TritonServer
from neurips16.serving.errors import (
    MissingBackendError,
    MissingTritonError,
    ModelFailedError,
    PortTakenError,
    RepositoryError,
    UnfitEnvironmentError,
)
from neurips16.serving.triton import installation
from neurips16.serving.triton.address import reachable_host
from neurips16.serving.triton.admin_token import GRPC_HEADER
from neurips16.serving.triton.run_folder import PREFIX, RunFolder, server_environment, sweep

pytestmark = pytest.mark.triton

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def repository(tmp_path) -> Path:
    put(tmp_path, "double", f"max_batch_size: 8 {X_TO_Y} {ONE}", times(2))
    return tmp_path


def free_ports(**changes) -> dict:
    return {"grpc_port": 0, "http_port": 0, "metrics_port": None, **changes}


def test_models_that_do_not_load_are_all_named_with_their_reasons(needs_triton, repository):
    (repository / "corrupt" / "1").mkdir(parents=True)
    (repository / "corrupt" / "1" / "model.onnx").write_bytes(b"not an ONNX file")
    put(repository, "on_gpu", f"max_batch_size: 8 {X_TO_Y} instance_group {{ kind: KIND_GPU }}", times(2))
    put(repository, "misfit", f"max_batch_size: 8 {X_TO_Y.replace('FP32', 'INT32')} {ONE}", times(2))
    library = 'model_operations { op_library_filename: "libabsent_ops.so" }'
    put(repository, "no_ops", f"max_batch_size: 8 {X_TO_Y} {ONE} {library}", times(2))
    accelerated = 'optimization { execution_accelerators { gpu_execution_accelerator { name: "cuda" } } }'
    put(repository, "accelerated", f"max_batch_size: 8 {X_TO_Y} {ONE} {accelerated}", times(2))
    before = psutil.Process().children(recursive=True)
    with pytest.raises(ModelFailedError) as caught, TritonServer(repository, **free_ports()):
        pass
    text = str(caught.value)
    assert "\n" not in text
    assert "'double'" not in text
    assert "input 'x' is TYPE_INT32, in the file TYPE_FP32" in text
    assert "output 'y' is TYPE_INT32, in the file TYPE_FP32" in text
    assert "'libabsent_ops.so' is not ours" in text
    assert "--allow-op-library libabsent_ops.so" in text
    assert "all instances run on the CPU" in text
    assert "'corrupt'" in text
    if not Path("/dev/nvidiactl").exists():
        assert "'on_gpu'" in text
    assert psutil.Process().children(recursive=True) == before


def test_a_taken_port_is_named(needs_triton, repository):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"port {port} .*gRPC.*--grpc-port"):
            TritonServer(repository, **free_ports(grpc_port=port)).start()


def test_a_missing_package_is_named(repository, monkeypatch):
    def without(missing):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else real(name))

    real = importlib.util.find_spec
    without("onnxruntime")
    with pytest.raises(UnfitEnvironmentError, match="onnxruntime is not installed"):
        TritonServer(repository, **free_ports()).start()
    without("pytriton")
    with pytest.raises(MissingTritonError, match=r"nvidia-pytriton .*pip install 'neurips16\[serving\]'"):
        TritonServer(repository, **free_ports()).start()


def test_an_onnxruntime_that_is_too_old_is_named(repository, monkeypatch, tmp_path):
    (tmp_path / "capi").mkdir()
    (tmp_path / "capi" / "libonnxruntime.so.1.20.1").touch()
    real, old = importlib.util.find_spec, SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: old if name == "onnxruntime" else real(name))
    with pytest.raises(UnfitEnvironmentError, match=r"no libonnxruntime.so of 1\.21 or later: pip install --upgrade"):
        TritonServer(repository, **free_ports()).start()


def test_a_backend_that_was_not_built_is_named(repository, monkeypatch):
    monkeypatch.setattr(installation, "_find", lambda folder, name: None)
    with pytest.raises(MissingBackendError, match=r"libtriton_onnxruntime\.so is not built .*NEURIPS16_NATIVE=ON pip"):
        TritonServer(repository, **free_ports()).start()
    monkeypatch.setenv("NEURIPS16_BACKEND_LIBRARY", "/nowhere/lib.so")
    with pytest.raises(MissingBackendError, match=r"names /nowhere/lib\.so, expected"):
        TritonServer(repository, **free_ports()).start()


def test_what_is_no_repository_is_refused(tmp_path):
    with pytest.raises(RepositoryError, match="is no folder"):
        TritonServer(tmp_path / "absent", **free_ports()).start()
    (tmp_path / "notes").mkdir()
    with pytest.raises(RepositoryError, match="holds no model"):
        TritonServer(tmp_path, **free_ports()).start()


def test_stopping_leaves_nothing_behind(needs_triton, repository, tmp_path_factory, monkeypatch):
    temporary = tmp_path_factory.mktemp("a folder with blanks")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(temporary))
    with TritonServer(repository, **free_ports()) as server:
        process = psutil.Process(server.pid)
        assert not process.children()  # one process for all models
        assert len(list(temporary.iterdir())) == 1
    assert not process.is_running()
    assert not list(temporary.iterdir())
    server.stop()  # a second time does nothing
    assert not server.ready()


def test_nothing_outlives_the_program_that_started_it(needs_triton, repository, tmp_path_factory, monkeypatch):
    temporary = tmp_path_factory.mktemp("temporary")  # which no other server sweeps
    code = (
        "import sys, time; from neurips16.serving import TritonServer\n"
        f"server = TritonServer({str(repository)!r}, grpc_port=0, http_port=None, metrics_port=None)\n"
        "server.start(); server.wait_ready(); print(server.pid, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "TMPDIR": str(temporary)}
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    with program.stdout:
        server = psutil.Process(int(program.stdout.readline()))
        assert server.name() == "tritonserver"
        program.kill()
        program.wait()
    assert not psutil.wait_procs([server], timeout=60)[1]
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(temporary))
    assert list(temporary.glob(f"{PREFIX}*"))
    sweep()  # what was left, the next start removes
    assert not list(temporary.glob(f"{PREFIX}*"))


def test_what_killed_servers_left_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    left = tmp_path / f"{PREFIX}0123456789ab"
    left.mkdir()
    (left / "lock").touch()
    folder = RunFolder.create()
    try:
        sweep()
        assert not left.exists()
        assert folder.folder.exists()  # whose lock is held
    finally:
        folder.remove()
    assert not list(tmp_path.iterdir())


def test_the_server_takes_no_session_settings_from_model_files(monkeypatch):
    monkeypatch.setenv("ORT_LOAD_CONFIG_FROM_MODEL", "1")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/theirs")
    environment = server_environment([Path("/ours")])
    assert "ORT_LOAD_CONFIG_FROM_MODEL" not in environment
    assert environment["LD_LIBRARY_PATH"] == "/ours:/theirs"
    assert environment["MALLOC_ARENA_MAX"] == "2"


def test_explicit_control_leaves_the_loading_to_admins(needs_triton, repository):
    put(repository, "other", f"max_batch_size: 8 {X_TO_Y} {ONE}", times(3))
    control = {"model_control": "explicit", "models": ["other"]}
    with TritonServer(repository, **free_ports(), **control) as server:
        assert server.models == {"other"}
        with grpc_client.InferenceServerClient(server.url) as client:
            assert not client.is_model_ready("double")
            client.load_model("double", headers={GRPC_HEADER: server.admin_token})
            np.testing.assert_array_equal(infer(client, "double", {"x": X})["y"], X * 2)
    with pytest.raises(ValueError, match="none, explicit, poll"):
        TritonServer(repository, model_control="sometimes")


@pytest.mark.parametrize(
    ("listens", "reached"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("127.0.0.1", "127.0.0.1"), ("example.org", "example.org")],
)
def test_an_unspecified_address_is_reached_by_loopback(listens, reached):
    assert reachable_host(listens) == reached


def test_the_log_keeps_levels_and_last_lines(caplog):
    from neurips16.serving.triton.log import ServerLog

    log = ServerLog()
    with caplog.at_level(logging.DEBUG, "neurips16.serving.triton.log"):
        for line in (
            'I1122 22:26:23.747443 5724 cuda_memory_manager.cc:117] "quiet"',
            'E1122 22:26:23.747443 5724 server.cc:241] "loud"',
            "| a table |",
            "printed by a model",
        ):
            log.feed(line)
    levels = {record.getMessage(): record.levelno for record in caplog.records}
    assert levels == {
        "quiet": logging.DEBUG,
        "loud": logging.ERROR,
        "| a table |": logging.DEBUG,
        "printed by a model": logging.INFO,
    }
    assert log.tail(5, level=logging.ERROR) == ["loud"]
    assert log.tail(1) == ["printed by a model"]
