"""No file that may come from outside is opened in a way that runs code: what each package's source says of it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("training", "export", "serving", "clients", "deploy")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

# Calls that may run what a file says, and the argument that keeps them from it; None where nothing does.
GUARDED = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
    "trainer.fit": ("weights_only", True),
    "pickle.load": None,
    "pickle.loads": None,
    "joblib.load": None,
    "load_from_checkpoint": None,
    "yaml.load": None,
    "torch.hub.load": None,
    "eval": None,
    "exec": None,
}


OWN_PIPES = {"clients/scoring/engine_process.py"}  # a process and the one that it started: no file, nobody between


def risks(source: str) -> list[str]:
    """The calls in a source that may run what a file says."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        for risk, guard in GUARDED.items():
            whole = name == risk or name.endswith(f".{risk}")
            if risk in ("eval", "exec"):  # as a method it is torch's, or another
                whole = name == risk
            given = {word.arg: word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)}
            if whole and (guard is None or given.get(guard[0]) is not guard[1]):
                found.append(f"line {node.lineno}: {name}")
    return found


@pytest.mark.parametrize(
    "call",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "numpy.load(path, allow_pickle=True)",
        "Model.load_from_checkpoint(path)",
        "self.trainer.fit(model, ckpt_path=path)",
        "pickle.loads(data)",
        "eval(text)",
    ],
)
def test_a_risk_is_seen(call):
    assert len(risks(call)) == 1
    assert risks("torch.load(path, weights_only=True); np.load(path, allow_pickle=False); model.eval()") == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_opened_so(path):
    found = risks(path.read_text(encoding="utf-8"))
    if str(path.relative_to(ROOT)) in OWN_PIPES:
        assert {risk.split(": ")[1] for risk in found} == {"pickle.load"}
    else:
        assert found == []
