import subprocess
import sys

import pytest

import neurips16.clients


@pytest.mark.parametrize("name", neurips16.clients.__all__)
def test_every_public_name_is_there(name):
    assert getattr(neurips16.clients, name).__name__ == name


def test_public_names_are_listed_once_and_in_order():
    assert sorted(neurips16.clients._MODULES) == sorted(neurips16.clients.__all__) == dir(neurips16.clients)
    with pytest.raises(AttributeError, match="no attribute 'Nobody'"):
        _ = neurips16.clients.Nobody


def imported(statement):
    """The top-level packages that a statement brings in, in a fresh interpreter."""
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_clients_need_no_training_packages():
    everything = imported("from neurips16.clients import *; import neurips16.clients.tasks.rank_premises.command")
    assert {"grpc", "numpy", "tritonclient"} <= everything
    assert not {"torch", "onnx", "onnxruntime", "lightning", "pytriton"} & everything


def test_commands_import_nothing_heavy():
    assert not {"grpc", "numpy", "tritonclient", "torch"} & imported(
        "import neurips16.clients.command, neurips16.clients.tasks.rank_premises.command"
    )
