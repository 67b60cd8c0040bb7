"""An export into a repository that a server polls: the new version is waited for, asked, and taken back if it fails."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import time

import numpy as np
import pytest

from neurips16.clients import Client
from neurips16.export import run_export as run_export_module
from neurips16.export.errors import ParityError
from neurips16.export.parity.report import Failure
from neurips16.export.registry import ExportedModel, SystemExport
from neurips16.export.run_export import run_export
from neurips16.export.spec import MetricGate

pytestmark = [
    pytest.mark.triton,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("pytriton") is None, reason="nvidia-pytriton is not installed"),
]


def served_versions(url: str) -> set[str]:
    with Client(url) as client:
        return {status.version for status in client.models() if status.ready}


def test_the_new_version_is_asked_and_a_bad_one_is_taken_back(tiny, tmp_path, monkeypatch) -> None:
    from neurips16.serving import TritonServer
    from neurips16.serving.repository import prepare_model

    spec = dataclasses.replace(tiny.spec, metrics=(MetricGate("error", 0.0, "none"),))
    models = [ExportedModel(spec, tiny.module, tiny.example, tiny.cases)]
    system = SystemExport("tiny", lambda *words: {"error": 0.1}, lambda *words: models, needs_data=False)
    monkeypatch.setattr(run_export_module, "find_export", lambda name: system)
    (tmp_path / "run.ckpt").touch()
    words = ("tiny", tmp_path / "run.ckpt", tmp_path / "models")
    run_export(*words)

    options = {"grpc_port": 0, "metrics_port": None, "model_control": "poll", "poll_s": 0.5}
    with TritonServer(tmp_path / "models", before_load=prepare_model, **options) as server:
        (folder,) = run_export(*words, url=server.url)
        assert folder.name == "2"
        report = json.loads((folder / "parity.json").read_text())
        assert report["passed"]
        assert report["runs"]["server"]["embedding"]["compared"] == 20
        assert report["incumbent"]["version"] == 1

        real = run_export_module.check_parity

        def differs(*words, server=None, **options):
            found = real(*words, server=server, **options)
            if server is not None:
                assert server == (server_url, "tiny_encoder", "3")
                found.failures.append(Failure("server", "the answer is another"))
            return found

        server_url = server.url
        monkeypatch.setattr(run_export_module, "check_parity", differs)
        with pytest.raises(ParityError, match=r"the answer is another(.|\n)*tiny_encoder version 3 was taken back"):
            run_export(*words, url=server.url)
        deadline = time.monotonic() + 20
        while served_versions(server.url) != {"2"} and time.monotonic() < deadline:
            time.sleep(0.2)
        assert served_versions(server.url) == {"2"}  # what was there before answers again
        with Client(server.url) as client:
            text = np.zeros((1, 7), np.uint8)
            assert set(client.infer("tiny_encoder", {"text": text}, version="2")) == {"embedding", "count", "density"}
