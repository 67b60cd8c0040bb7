from __future__ import annotations

import itertools

import onnx
import pytest
from onnx import helper

from neurips16.export.spec import (
    DEFAULT_IR_VERSION,
    DEFAULT_OPSET,
    ModelSpec,
    Op,
    SpecError,
    TensorSpec,
    Tolerance,
    embed_spec,
)
from neurips16.serving.errors import ReleaseError, ServingError
from neurips16.serving.release import OP_LIBRARY_API, RELEASES, get_release, oldest_supported, preflight


def model(opset: int = DEFAULT_OPSET, ir_version: int = DEFAULT_IR_VERSION, *ops: Op) -> onnx.ModelProto:
    spec = ModelSpec(
        name="small",
        system="none",
        summary="",
        inputs=(),
        outputs=(TensorSpec("y", "FP32", ("N", 2), "", tolerance=Tolerance(0, 0, "none")),),
        max_batch_size=4,
        paper="none",
        custom_ops=ops,
    )
    made = helper.make_model(helper.make_graph([], "g", [], []), opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = ir_version
    embed_spec(made, spec)
    return made


def test_the_table_is_in_order_and_only_ever_loads_more() -> None:
    rows = list(RELEASES.values())
    assert [r.name for r in rows] == sorted(RELEASES)
    for before, after in itertools.pairwise(rows):
        assert before.custom_op_api <= after.custom_op_api
        assert before.max_opset <= after.max_opset
        assert before.max_ir_version <= after.max_ir_version


def test_the_oldest_supported_is_the_first_that_loads_the_op_library() -> None:
    release = oldest_supported()
    assert (release.name, release.onnxruntime) == ("25.03", "1.21.0")
    assert all(r.custom_op_api < OP_LIBRARY_API for r in RELEASES.values() if r.name < release.name)


def test_what_specifications_ask_for_by_default_is_loaded_there() -> None:
    preflight(model())
    assert oldest_supported().max_opset >= DEFAULT_OPSET
    assert oldest_supported().max_ir_version >= DEFAULT_IR_VERSION


@pytest.mark.parametrize(
    ("made", "release", "parts"),
    [
        (model(opset=23), None, ["25.03 (ONNX Runtime 1.21.0)", "opset 23, at most 22", "with a later release"]),
        (model(ir_version=11), "25.03", ["IR version 11, at most 10"]),
        (model(20, 10, Op("neurips16", "PSRoIPool")), "25.02", ["needs API 21; its runtime offers 20", "--inline"]),
        (model(22, 11, Op("neurips16", "PSRoIPool")), "25.01", ["opset 22", "IR version 11", "libneurips16_ops.so"]),
    ],
)
def test_what_is_too_new_is_refused_with_all_its_reasons(made, release, parts) -> None:
    with pytest.raises(ReleaseError) as error:
        preflight(made, release)
    for part in parts:
        assert part in str(error.value)


def test_a_later_release_loads_more() -> None:
    preflight(model(23, 11, Op("neurips16", "PSRoIPool")), "25.09")
    preflight(model(21, 10), "25.01")  # without operators of ours, a release before the oldest supported one does too


def test_files_are_read(tmp_path) -> None:
    onnx.save(model(opset=23), tmp_path / "model.onnx")
    with pytest.raises(ReleaseError, match=r"cannot load .*model\.onnx"):
        preflight(tmp_path / "model.onnx")
    bare = model()
    del bare.metadata_props[:]
    with pytest.raises(SpecError, match="carries no"):
        preflight(bare)
    empty = model()
    del empty.opset_import[:]
    with pytest.raises(SpecError, match="no standard operator set"):
        preflight(empty)


def test_an_unknown_release_says_which_are_known() -> None:
    with pytest.raises(ReleaseError, match=r"'24\.10' is not in the table; it has 24\.12, .*25\.03"):
        get_release("24.10")
    assert issubclass(ReleaseError, ServingError)
