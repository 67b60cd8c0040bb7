"""What every system has to have, for all that are found: a new one gets these tests for nothing.

A fixture ``DATASET_folder`` in tests/fixtures/DATASET.py is the made-up data of the reader in training/data/DATASET.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import pkgutil
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from neurips16.clients import tasks
from neurips16.clients.in_process import LocalClient
from neurips16.export import registry
from neurips16.export.errors import ExportError
from neurips16.export.registry import SystemExport, Target, export_names, find_export
from neurips16.export.run_export import evaluate_target, run_export
from neurips16.export.spec import read_spec
from neurips16.training import run, system
from neurips16.training.errors import DataError, UnknownSystemError
from neurips16.training.run import run_training
from neurips16.training.system import System, SystemModule, find_system, system_names

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "serving/models"
SHIPPED = {path.parents[1].name: read_spec(path) for path in sorted(MODELS.glob("*/*/model.onnx"))}
SYSTEMS = system_names()
PRESETS = [(name, preset) for name in SYSTEMS for preset in find_system(name).preset_names()]
TRAINED = [name for name in SYSTEMS if find_system(name).module is not None]
EXPORTED = [name for name in export_names() if find_export(name).models is not None]
SMALL_STEPS = 2
pytestmark = [  # Lightning's advice about workers and intervals, and what it calls itself
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:LightningCLI's args parameter"),
]


def data_of(name: str, request: pytest.FixtureRequest) -> Path | None:
    """Made-up data of a system, by the folder of its data module."""
    data = find_system(name).data
    return None if data is None else request.getfixturevalue(f"{data.__module__.split('.')[-2]}_folder")


class Parser(run._CommandLine):
    """Reads a preset and makes nothing."""

    def instantiate_classes(self) -> None:
        pass

    def _add_instantiators(self) -> None:
        pass


def test_training_and_export_know_the_same_systems() -> None:
    assert set(export_names()) >= {name for name in SYSTEMS if find_system(name).module is not None}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_is_called_as_its_module(name) -> None:
    found = find_system(name)
    assert found.name == name
    assert found.module is None or found.module.system == name
    assert find_export(name).name == name
    assert found.module is None or found.preset_names(), "a system that is trained has a preset"


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_a_preset_is_understood(name, preset) -> None:
    found = find_system(name)
    words = ["--config", str(found.preset(preset)), *(["--data.folder=x"] if found.data else [])]
    line = Parser(found, words, run=False)
    assert line.config.threads >= 0


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What `test_the_small_preset_trains` has left."""
    return {}


@pytest.mark.parametrize("name", TRAINED)
def test_the_small_preset_trains(name, checkpoints, tmp_path_factory, request) -> None:
    output = tmp_path_factory.mktemp(name)
    words = [f"--trainer.max_steps={SMALL_STEPS}", "--trainer.max_epochs=1", "--trainer.logger=false",
             "--trainer.enable_progress_bar=false", "--trainer.limit_val_batches=0", "--threads=0",
             f"--trainer.limit_train_batches={SMALL_STEPS}"]  # fmt: skip
    run_training(name, "small", data_of(name, request), output, words)
    checkpoint = max(output.glob("epoch*.ckpt"))
    content = torch.load(checkpoint, weights_only=True)
    assert content["global_step"] > 0
    checkpoints[name] = checkpoint


@pytest.mark.parametrize("name", EXPORTED)
def test_what_is_exported_passes_parity(name, checkpoints, tmp_path, request) -> None:
    """Of the small preset; of the fixture ``NAME_checkpoint`` where a network that knows nothing yet proves nothing."""
    try:
        checkpoint = request.getfixturevalue(f"{name}_checkpoint")
    except pytest.FixtureLookupError:
        if find_export(name).trained and name not in checkpoints:
            pytest.skip("its small preset was not trained")
        checkpoint = checkpoints.get(name)
    published = run_export(name, checkpoint, tmp_path / "models", no_data=find_export(name).needs_data).folders
    assert published
    for folder in published:
        spec = read_spec(folder / "model.onnx")
        assert spec.system == name
        assert json.loads((folder / "parity.json").read_text())["passed"]
        LocalClient(tmp_path / "models").model(spec.name)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_has_a_system_and_a_card(name) -> None:
    spec = SHIPPED[name]
    assert spec.system in EXPORTED
    assert (ROOT / "serving/cards" / spec.system / "README.md").is_file()
    assert spec.metrics or not find_export(spec.system).trained, "its own metric gates it"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_has_a_task_with_examples(name) -> None:
    """The demo, the soak and the GPU check take what they ask from a task's examples."""
    modules = [importlib.import_module(f"{tasks.__name__}.{m.name}") for m in pkgutil.iter_modules(tasks.__path__)]
    manifests = [module.TASK for module in modules if hasattr(module, "TASK")]
    if not manifests:
        pytest.skip("clients/tasks have no manifests yet")
    mine = [task for task in manifests if name in task.models]
    assert mine, f"no task uses {name}"
    assert any(task.examples for task in mine), f"no task of {name} has an example"


@pytest.fixture(scope="module")
def soaked() -> list[Any]:
    """The soak's questions to the shipped models."""
    sys.path.insert(0, str(ROOT / "deploy"))
    try:
        return importlib.import_module("soak.questions").make_questions(MODELS, sizes=1)
    finally:
        sys.path.remove(str(ROOT / "deploy"))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_has_a_question_in_the_soak(name, soaked) -> None:
    mine = [question for question in soaked if question.model == name]
    assert mine
    assert mine[0].match(mine[0].answers[0]) == (0, "")


# What a system may lack, by toys of another package.


class Wheel(SystemModule):
    """Makes its own batches, so it needs no data."""

    system = "wheel"

    def __init__(self, size: int = 3):
        super().__init__()
        self.save_plain_hyperparameters()
        self.layer = torch.nn.Linear(size, 1)

    def train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(torch.ones(4, self.hparams.size), batch_size=2)

    def training_step(self, batch: torch.Tensor, batch_index: int) -> torch.Tensor:
        return self.layer(batch).pow(2).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def coin(target: Target, data: Path | None, split: str, options: Any) -> dict[str, float]:
    """A system of which nothing is trained or exported."""
    assert data is None
    return {"heads": 0.5}


@pytest.fixture
def toys(monkeypatch, tmp_path) -> None:
    """Two systems of another package: `wheel` has no data, `coin` nothing to train or to export."""
    module = types.ModuleType("toy_systems")
    for name in ("wheel", "coin"):
        (tmp_path / name).mkdir()
        text = "model: {size: 5}\ntrainer: {accelerator: cpu, max_epochs: 1}\n" if name == "wheel" else "{}\n"
        (tmp_path / name / "small.yaml").write_text(text)
    module.WHEEL = System("wheel", Wheel, presets=tmp_path / "wheel")
    module.COIN = System("coin", presets=tmp_path / "coin")
    module.COIN_EXPORT = SystemExport("coin", coin, needs_data=False)
    monkeypatch.setitem(sys.modules, "toy_systems", module)
    entries = {
        system.GROUP: [("wheel", "WHEEL"), ("coin", "COIN")],
        registry.GROUP: [("coin", "COIN_EXPORT")],
    }

    def entry_points(group: str) -> list:
        return [importlib.metadata.EntryPoint(n, f"toy_systems:{v}", group) for n, v in entries[group]]

    monkeypatch.setattr(system, "entry_points", entry_points)
    monkeypatch.setattr(registry, "entry_points", entry_points)


@pytest.mark.usefixtures("toys")
class TestSystemsThatLackParts:
    def test_one_without_data_trains(self, tmp_path) -> None:
        assert {"wheel", "coin"} <= set(system_names())
        words = ["--trainer.logger=false", "--trainer.enable_progress_bar=false"]
        run_training("wheel", "small", None, tmp_path / "run", words)
        module = system.load_module(tmp_path / "run/epoch000.ckpt", "wheel")
        assert module.hparams.size == 5

    def test_data_are_neither_left_out_nor_given_in_vain(self, tmp_path, mnist_folder) -> None:
        with pytest.raises(DataError, match="wheel needs no data set: leave --data out"):
            run_training("wheel", "small", mnist_folder, tmp_path / "run")
        with pytest.raises(DataError, match="infogan needs a data set: give --data FOLDER"):
            run_training("infogan", "small", None, tmp_path / "run")

    def test_one_without_training_is_evaluated_only(self, tmp_path) -> None:
        with pytest.raises(UnknownSystemError, match="coin is not trained: see `neurips16 evaluate coin`"):
            run_training("coin", "small", None, tmp_path / "run")
        export = find_export("coin")
        assert evaluate_target(export, Target(baseline="fair"), None, "test", {}) == {"heads": 0.5}
        with pytest.raises(ExportError, match="nothing of coin is exported"):
            run_export("coin", tmp_path / "any.ckpt", tmp_path / "models")
