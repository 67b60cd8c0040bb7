"""ONNX Runtime 1.32 keeps a file of events in the home folder, and sends them: not where it is ours."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[1] / "serving/models"
(MODEL,) = (MODELS / "simhash").glob("*/model.onnx")
WAYS = {
    "clients": f"from neurips16.clients.in_process import make_session as make; make(Path({str(MODEL)!r}), threads=1)",
    "export": f"from neurips16.export.session import make_session as make; make({str(MODEL)!r})",
    "export alone": "import neurips16.export.graph.quantisation",
    "serving": f"from neurips16.serving import TritonServer\n"
    f"with TritonServer({str(MODELS)!r}, models=['simhash'], grpc_port=0, http_port=None, metrics_port=None): pass",
    "doctor": "from neurips16.serving import doctor; doctor._onnxruntime()",
}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_kept_in_the_home_folder(way, tmp_path) -> None:
    if way == "serving" and importlib.util.find_spec("pytriton") is None:
        pytest.skip("nvidia-pytriton is not installed: pip install 'neurips16[serving]'")
    unset = ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY")
    environment = {name: value for name, value in os.environ.items() if name not in unset} | {"HOME": str(tmp_path)}
    code = f"from pathlib import Path\n{WAYS[way]}"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=240)
    assert not list(tmp_path.rglob("onnxruntime*"))
