from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from neurips16.export.spec import EXACT, ModelSpec, Op, StateSpec, TensorSpec, Tolerance, embed_spec
from neurips16.serving.errors import ReleaseError, RepositoryError
from neurips16.serving.repository import (
    HEADER,
    config_for,
    newest_model,
    prepare,
    prepare_model,
    read_config,
    render,
    write_config,
)
from neurips16.serving.triton.repository_poller import look

CLOSE = Tolerance(1e-4, 1e-5, "sums")

SPEC = ModelSpec(
    name="detector",
    system="none",
    summary="",
    inputs=(
        TensorSpec("image", "UINT8", ("N", "H", "W", 3), ""),
        TensorSpec("threshold", "FP32", ("N", 1), "", optional=True),
    ),
    outputs=(
        TensorSpec("class_probabilities", "FP32", ("N", 2), "", tolerance=CLOSE),
        TensorSpec("count", "INT32", ("N", 1), "", tolerance=EXACT),
    ),
    max_batch_size=16,
    paper="none",
    labels={"class_probabilities": ("cat", "Hündchen")},
    parameters={"build": "c0ffee", "alphabet": 'a"\\\n~'},
    custom_ops=(Op("neurips16", "PSRoIPool"),),
)

STATEFUL = ModelSpec(
    name="recogniser",
    system="none",
    summary="",
    inputs=(TensorSpec("audio", "FP32", ("N", "T"), ""),),
    outputs=(TensorSpec("tokens", "INT32", ("N", 4), "", tolerance=EXACT),),
    max_batch_size=8,
    paper="none",
    states=(
        StateSpec("a_in", "a_out", "FP32", (2, 3), CLOSE),
        StateSpec("b_in", "b_out", "INT32", (2,), EXACT, initial=-1),
    ),
)

GOLDEN = r"""name: "detector"
version_policy {
  latest {
    num_versions: 1
  }
}
max_batch_size: 16
input {
  name: "image"
  data_type: TYPE_UINT8
  dims: -1
  dims: -1
  dims: 3
}
input {
  name: "threshold"
  data_type: TYPE_FP32
  dims: 1
  optional: true
}
output {
  name: "class_probabilities"
  data_type: TYPE_FP32
  dims: 2
  label_filename: "class_probabilities_labels.txt"
}
output {
  name: "count"
  data_type: TYPE_INT32
  dims: 1
}
instance_group {
  count: 1
}
default_model_filename: "model.onnx"
dynamic_batching {
}
parameters {
  key: "alphabet"
  value {
    string_value: "a\"\\\n~"
  }
}
parameters {
  key: "build"
  value {
    string_value: "c0ffee"
  }
}
parameters {
  key: "labels"
  value {
    string_value: "[\"cat\", \"Hündchen\"]"
  }
}
backend: "onnxruntime"
model_operations {
  op_library_filename: "libneurips16_ops.so"
}
"""

GOLDEN_SEQUENCE = r"""sequence_batching {
  max_sequence_idle_microseconds: 60000000
  oldest {
    max_candidate_sequences: 256
  }
  state {
    input_name: "a_in"
    output_name: "a_out"
    data_type: TYPE_FP32
    dims: 2
    dims: 3
    initial_state {
      data_type: TYPE_FP32
      dims: 2
      dims: 3
      zero_data: true
      name: "a_in_initial"
    }
  }
  state {
    input_name: "b_in"
    output_name: "b_out"
    data_type: TYPE_INT32
    dims: 2
    initial_state {
      data_type: TYPE_INT32
      dims: 2
      data_file: "b_in"
      name: "b_in_initial"
    }
  }
}
"""


def save_model(folder: Path, spec: ModelSpec | None, *, opset: int = 20, ir_version: int = 10) -> Path:
    model = helper.make_model(helper.make_graph([], "g", [], []), opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = ir_version
    if spec is not None:
        embed_spec(model, spec)
    folder.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def test_golden() -> None:
    header, _, body = render(config_for(SPEC)).partition("\n")
    assert header == HEADER
    assert header.startswith("# ")
    assert body == GOLDEN


def test_golden_states_take_the_place_of_dynamic_batching() -> None:
    text = render(config_for(STATEFUL))
    assert GOLDEN_SEQUENCE in text
    assert "dynamic_batching" not in text


@pytest.mark.parametrize("spec", [SPEC, STATEFUL], ids=lambda spec: spec.name)
def test_reading_is_the_inverse_of_writing(spec, tmp_path) -> None:
    config = config_for(spec, "another", instances=3, kind="KIND_CPU", keep_versions=None)
    (tmp_path / "config.pbtxt").write_text(render(config), encoding="utf-8")
    assert read_config(tmp_path / "config.pbtxt") == config
    assert config.name == "another"
    assert config.version_policy.HasField("all")
    assert (config.instance_group[0].count, config.instance_group[0].kind) == (3, config.instance_group[0].KIND_CPU)


def test_requests_wait_for_others_as_long_as_the_specification_says() -> None:
    assert config_for(SPEC).dynamic_batching.max_queue_delay_microseconds == 0
    waiting = config_for(replace(SPEC, batching_delay_us=300))
    assert waiting.dynamic_batching.max_queue_delay_microseconds == 300
    waiting = config_for(replace(STATEFUL, batching_delay_us=300))
    assert waiting.sequence_batching.oldest.max_queue_delay_microseconds == 300


def test_the_specification_says_how_many_instances() -> None:
    twice = replace(SPEC, instances=2)
    assert config_for(twice).instance_group[0].count == 2
    assert config_for(twice, instances=1).instance_group[0].count == 1


def test_a_model_without_a_batch_axis_is_not_batched() -> None:
    spec = ModelSpec(
        name="one",
        system="none",
        summary="",
        inputs=(TensorSpec("codes", "INT64", ("T",), ""),),
        outputs=(TensorSpec("image", "UINT8", (8, 8), "", tolerance=EXACT),),
        max_batch_size=0,
        paper="none",
    )
    config = config_for(spec)
    assert list(config.input[0].dims) == [-1]
    assert list(config.output[0].dims) == [8, 8]
    assert not config.HasField("dynamic_batching")


@pytest.mark.parametrize("text", ["name: 3", "colour: 'red'", "input {"])
def test_a_text_that_is_no_configuration(tmp_path, text) -> None:
    (tmp_path / "config.pbtxt").write_text(text)
    with pytest.raises(RepositoryError, match="no Triton model configuration"):
        read_config(tmp_path / "config.pbtxt")
    with pytest.raises(RepositoryError, match=r"cannot read .*absent: No such file"):
        read_config(tmp_path / "absent")


class TestWrite:
    def test_labels_stand_beside_the_configuration(self, tmp_path) -> None:
        model_dir = tmp_path / "detector"
        changed = write_config(save_model(model_dir / "1", SPEC), model_dir)
        assert {p.name for p in changed} == {"config.pbtxt", "class_probabilities_labels.txt"}
        labels = (model_dir / "class_probabilities_labels.txt").read_text(encoding="utf-8")
        assert labels == "cat\nHündchen\n"
        assert write_config(model_dir / "1" / "model.onnx", model_dir) == []  # nothing is outdated now

    def test_a_state_that_does_not_start_at_zero_has_a_file(self, tmp_path) -> None:
        model_dir = tmp_path / "recogniser"
        write_config(save_model(model_dir / "1", STATEFUL), model_dir)
        content = (model_dir / "initial_state" / "b_in").read_bytes()
        assert np.frombuffer(content, np.int32).tolist() == [-1, -1]
        assert [p.name for p in (model_dir / "initial_state").iterdir()] == ["b_in"]

    def test_the_folder_s_name_is_the_server_s(self, tmp_path) -> None:
        model_dir = tmp_path / "detector_blue"
        write_config(save_model(model_dir / "1", SPEC), model_dir)
        assert read_config(model_dir / "config.pbtxt").name == "detector_blue"

    def test_what_the_release_cannot_load_gets_no_configuration(self, tmp_path) -> None:
        model_dir = tmp_path / "detector"
        with pytest.raises(ReleaseError, match="opset 23"):
            write_config(save_model(model_dir / "1", SPEC, opset=23), model_dir)
        assert not (model_dir / "config.pbtxt").exists()


class TestPrepare:
    def test_missing_and_outdated_configurations_are_written(self, tmp_path) -> None:
        save_model(tmp_path / "detector" / "1", SPEC)
        assert prepare(tmp_path) == ["detector: wrote config.pbtxt, class_probabilities_labels.txt"]
        assert prepare(tmp_path) == []
        config = tmp_path / "detector" / "config.pbtxt"
        config.write_text(HEADER + "\nname: 'old'\n")
        assert prepare(tmp_path) == ["detector: wrote config.pbtxt"]
        assert read_config(config) == config_for(SPEC)

    def test_the_newest_version_counts(self, tmp_path) -> None:
        for number in (9, 10):
            newer = ModelSpec(**{**vars(SPEC), "max_batch_size": number})
            save_model(tmp_path / "detector" / str(number), newer)
        save_model(tmp_path / "detector" / "011", SPEC)  # a server ignores leading zeros
        (tmp_path / "detector" / "12").mkdir()  # and so does this an empty folder
        assert newest_model(tmp_path / "detector") == tmp_path / "detector" / "10" / "model.onnx"
        prepare(tmp_path)
        assert read_config(tmp_path / "detector" / "config.pbtxt").max_batch_size == 10

    def test_a_person_s_configuration_is_kept(self, tmp_path) -> None:
        save_model(tmp_path / "detector" / "1", SPEC)
        prepare(tmp_path)
        config = tmp_path / "detector" / "config.pbtxt"
        config.write_text(config.read_text(encoding="utf-8").removeprefix(HEADER + "\n") + "\n# mine\n")
        before = config.read_bytes()
        assert prepare(tmp_path) == []
        assert config.read_bytes() == before

    def test_but_its_model_is_still_held_against_the_release(self, tmp_path) -> None:
        save_model(tmp_path / "detector" / "1", SPEC, ir_version=11)
        (tmp_path / "detector" / "config.pbtxt").write_text('name: "detector"\n')
        with pytest.raises(RepositoryError, match="IR version 11"):
            prepare(tmp_path)
        prepare(tmp_path, release="25.09")

    def test_models_of_others_are_left_alone(self, tmp_path) -> None:
        save_model(tmp_path / "foreign" / "1", None, opset=99)
        (tmp_path / "foreign" / "config.pbtxt").write_text('platform: "onnxruntime_onnx"\n')
        (tmp_path / "ensemble").mkdir()
        (tmp_path / "ensemble" / "config.pbtxt").write_text('platform: "ensemble"\n')
        (tmp_path / "README.md").touch()
        assert prepare(tmp_path) == []

    def test_no_version_reads_weights_from_another_folder(self, tmp_path) -> None:
        """Also of a model with a configuration of its own, and of a version that is not the newest."""
        (tmp_path / "secret").write_bytes(bytes(16))
        tensor = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="../../../secret")
        graph = helper.make_graph([], "g", [], [], initializer=[tensor])
        repository = tmp_path / "models"
        save_model(repository / "foreign" / "2", None)
        (repository / "foreign" / "config.pbtxt").write_text('platform: "onnxruntime_onnx"\n')
        assert prepare(repository) == []
        (repository / "foreign" / "1").mkdir()
        (repository / "foreign" / "1" / "model.onnx").write_bytes(helper.make_model(graph).SerializeToString())
        with pytest.raises(RepositoryError, match=r"'foreign': .*1/model\.onnx keeps weights in '../../../secret'"):
            prepare(repository)

    def test_every_model_that_cannot_be_served_is_named_with_a_remedy(self, tmp_path) -> None:
        save_model(tmp_path / "a_foreign" / "1", None)
        (tmp_path / "b_empty" / "1").mkdir(parents=True)
        save_model(tmp_path / "c_new" / "1", SPEC, opset=30)
        (tmp_path / "d_broken").mkdir()
        (tmp_path / "d_broken" / "config.pbtxt").write_text("{")
        save_model(tmp_path / "e_good" / "1", SPEC)
        with pytest.raises(RepositoryError) as error:
            prepare(tmp_path)
        lines = str(error.value).splitlines()
        assert lines[0] == f"3 models of {tmp_path} cannot be served:"
        for line, part in zip(lines[1:], ["no config.pbtxt", "opset 30", "d_broken"], strict=True):
            assert part in line
        assert (tmp_path / "e_good" / "config.pbtxt").exists()

    def test_a_single_problem_stands_alone(self, tmp_path) -> None:
        (tmp_path / "empty/1").mkdir(parents=True)
        with pytest.raises(RepositoryError, match=r"empty has no <version>/model\.onnx and no config\.pbtxt: export"):
            prepare(tmp_path)

    def test_a_configuration_of_ours_without_its_model(self, tmp_path) -> None:
        (tmp_path / "gone").mkdir()
        (tmp_path / "gone" / "config.pbtxt").write_text(render(config_for(SPEC)))
        with pytest.raises(RepositoryError, match="holds no model"):  # its last version was taken away
            prepare(tmp_path)
        (tmp_path / "gone" / "1").mkdir()
        with pytest.raises(RepositoryError, match=r"gone has no <version>/model\.onnx: export the model again"):
            prepare(tmp_path)

    def test_a_file_without_specification_or_configuration_is_left_to_the_server(self, tmp_path) -> None:
        save_model(tmp_path / "foreign" / "1", None)
        assert prepare(tmp_path) == []
        assert [p.name for p in (tmp_path / "foreign").iterdir()] == ["1"]
        (tmp_path / "foreign" / "libtriton_onnxruntime.so").touch()  # nobody answers for what it would run
        with pytest.raises(RepositoryError, match="is a program"):
            prepare(tmp_path)
        (tmp_path / "foreign" / "libtriton_onnxruntime.so").unlink()
        model = onnx.load(tmp_path / "foreign/1/model.onnx")
        model.metadata_props.add(key="neurips16.spec", value="{")
        onnx.save(model, tmp_path / "foreign/1/model.onnx")
        with pytest.raises(RepositoryError, match="is not JSON"):  # one that says what it is, and says it wrongly
            prepare(tmp_path)

    def test_what_lies_beside_the_models_is_passed_over(self, tmp_path) -> None:
        save_model(tmp_path / "detector" / "1", SPEC)
        for name in (".git/objects/12", ".ipynb_checkpoints", "lost+found", "docs/pictures", "2024 notes"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "README.md").touch()
        assert prepare(tmp_path) == ["detector: wrote config.pbtxt, class_probabilities_labels.txt"]
        assert list(look([tmp_path], None)) == [tmp_path / "detector"]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
    def test_a_folder_that_cannot_be_looked_into_is_no_model(self, tmp_path) -> None:
        save_model(tmp_path / "detector" / "1", SPEC)
        (tmp_path / "lost+found").mkdir(mode=0)
        assert list(look([tmp_path], None)) == [tmp_path / "detector"]

    def test_several_versions_are_served_where_one_configuration_describes_them(self, tmp_path) -> None:
        for number in ("1", "2", "10"):
            save_model(tmp_path / "detector" / number, SPEC)
        prepare_model(tmp_path / "detector", keep_versions=2)
        assert read_config(tmp_path / "detector/config.pbtxt").version_policy.latest.num_versions == 2
        prepare_model(tmp_path / "detector", keep_versions=None)
        assert read_config(tmp_path / "detector/config.pbtxt").version_policy.HasField("all")
        save_model(tmp_path / "detector/3", replace(SPEC, inputs=SPEC.inputs[:1]))
        with pytest.raises(RepositoryError, match=r"versions 3 and 10 of model 'detector' cannot .* input differs"):
            prepare_model(tmp_path / "detector", keep_versions=2)
        prepare_model(tmp_path / "detector")  # the newest alone

    def test_no_repository(self, tmp_path) -> None:
        with pytest.raises(RepositoryError, match="is no folder"):
            prepare(tmp_path / "absent")
        with pytest.raises(RepositoryError, match="holds no model"):
            prepare(tmp_path)
