from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import helper, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument, RuntimeException
from op_tester import CPU, LOG_NOTHING, Case, OpTester
from ps_roi_pool_cases import BAD_ROIS, CASES, WORKED_BINS, bins, reference
from torch import nn

from neurips16.export.graph.exporter import export_module
from neurips16.export.spec import ModelSpec, Op, TensorSpec, Tolerance
from neurips16.training.ops import ps_roi_pool

torch.set_num_threads(1)


class TestPSRoIPool(OpTester):
    name = "PSRoIPool"
    cases = CASES
    rtol, atol = 1e-5, 1e-6  # float32 sums of up to a whole map, in any order

    def reference(self, case: Case) -> np.ndarray:
        return reference(**case.inputs, **case.attributes)

    def torch(self, inputs: dict[str, torch.Tensor], attributes: dict) -> torch.Tensor:
        return ps_roi_pool(**inputs, **attributes)


def open_session(model: onnx.ModelProto, library: Path | None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = LOG_NOTHING
    if library:
        options.register_custom_ops_library(str(library))
    return ort.InferenceSession(model.SerializeToString(), options, providers=[CPU])


@pytest.fixture
def native(ops_library: Path):
    """Runs the kernel on scores and rois, with attributes."""

    def run(scores: np.ndarray, rois: np.ndarray, spatial_scale: float = 1 / 16, group_size: int = 1) -> np.ndarray:
        case = Case("", {}, {"spatial_scale": spatial_scale, "group_size": group_size})
        inputs = {"scores": scores.astype(np.float32), "rois": np.asarray(rois, np.float32)}
        return TestPSRoIPool().session(case, library=ops_library, body=False).run(None, inputs)[0]

    return run


class TestReference:
    @pytest.mark.parametrize(("low", "high", "k", "expected"), WORKED_BINS)
    def test_worked_bins(self, low: int, high: int, k: int, expected: list[tuple[int, int]]) -> None:
        assert bins(low, high, 1 / 16, k, limit=63) == expected

    def test_map_number_is_class_then_row_then_column(self) -> None:
        k, classes = 2, 3
        scores = np.arange(classes * k * k, dtype=np.float32).reshape(1, -1, 1, 1) * np.ones((1, 1, 4, 4), np.float32)
        got = reference(scores, np.array([[0, 0, 0, 63, 63]]), spatial_scale=1 / 16, group_size=k)
        assert got[0].flatten().tolist() == list(range(classes * k * k))

    def test_not_finite_values_stay_in_their_bins(self) -> None:
        case = next(case for case in CASES if case.name == "nan_and_infinity")
        want = reference(**case.inputs, **case.attributes)
        assert 0 < np.isfinite(want).sum() < want.size


class TestNativeKernelRefuses:
    @pytest.mark.parametrize(("roi", "says"), BAD_ROIS)
    def test_roi(self, native, roi: list[float], says: str) -> None:
        with pytest.raises(InvalidArgument, match=r"PSRoIPool: RoI 1 is \[") as caught:
            native(np.zeros((2, 1, 3, 3)), [[0, 0, 0, 9, 9], roi])
        assert says in str(caught.value)

    def test_channels(self, native) -> None:
        with pytest.raises(InvalidArgument, match="scores have 10 channels, which 3 x 3 bins do not divide evenly"):
            native(np.zeros((1, 10, 4, 4)), [[0, 0, 0, 9, 9]], group_size=3)

    @pytest.mark.parametrize("width", [4, 6])
    def test_roi_width(self, native, width: int) -> None:
        with pytest.raises(InvalidArgument, match=rf"rois must be \[R, 5\].*got \[1, {width}\]"):
            native(np.zeros((1, 9, 4, 4)), np.zeros((1, width)))

    @pytest.mark.parametrize("attributes", [{"group_size": 0}, {"spatial_scale": 0.0}], ids=str)
    def test_attribute(self, native, attributes: dict) -> None:
        with pytest.raises(RuntimeException, match=f"PSRoIPool: {next(iter(attributes))}"):
            native(np.zeros((1, 9, 4, 4)), [[0, 0, 0, 9, 9]], **attributes)

    def test_rank(self, ops_library: Path) -> None:
        """Of a model whose own declaration leaves the rank open."""
        model = onnx.ModelProto()
        model.CopyFrom(TestPSRoIPool().model((("spatial_scale", 0.5), ("group_size", 1)), body=False))
        model.graph.input[0].type.tensor_type.ClearField("shape")
        session = open_session(model, ops_library)
        with pytest.raises(InvalidArgument, match=r"scores must be \[N, C\*k\*k, H, W\], got \[9, 4, 4\]"):
            session.run(None, {"scores": np.zeros((9, 4, 4), np.float32), "rois": np.zeros((1, 5), np.float32)})


@pytest.mark.parametrize(("roi", "_says"), BAD_ROIS)
def test_function_body_refuses_what_names_no_image(roi: list[float], _says: str) -> None:
    case = Case("", {}, {"spatial_scale": 1 / 16, "group_size": 1})
    inputs = {"scores": np.zeros((2, 1, 3, 3), np.float32), "rois": np.array([roi], np.float32)}
    with pytest.raises(InvalidArgument, match="indices element out of data bounds"):
        TestPSRoIPool().session(case).run(None, inputs)


def test_native_shape_inference(ops_library: Path) -> None:
    """Of the model's output nothing is declared: the kernel's own function finds its shape from the inputs'."""
    model = onnx.ModelProto()
    model.CopyFrom(TestPSRoIPool().model((("spatial_scale", 0.5), ("group_size", 3)), body=False))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 18
    assert open_session(model, ops_library).get_outputs()[0].shape == ["rois_0", 2, 3, 3]


@pytest.mark.parametrize("unknown", [(0, 1), (1, 0)])
def test_native_shape_inference_says_nothing_of_what_it_does_not_know(ops_library: Path, unknown) -> None:
    """A length of -1 would break every node behind it: a Reshape, here."""
    case = TestPSRoIPool.cases[2]
    model = onnx.ModelProto()
    model.CopyFrom(TestPSRoIPool().model(tuple(case.attributes.items()), body=False))
    place, axis = unknown
    model.graph.input[place].type.tensor_type.shape.dim[axis].Clear()
    k = case.attributes["group_size"]
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, -1, k * k]), "target"))
    model.graph.node[0].output[0] = "bins"
    model.graph.node.append(helper.make_node("Reshape", ["bins", "target"], ["pooled"]))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    (got,) = open_session(model, ops_library).run(None, case.inputs)
    np.testing.assert_allclose(got, TestPSRoIPool().reference(case).reshape(1, -1, k * k), rtol=1e-4, atol=1e-5)


class Detector(nn.Module):
    """Score maps by a convolution, then pooled and voted."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Conv2d(3, 2 * 9, 1)

    def forward(self, features: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        return ps_roi_pool(self.score(features), rois, 1 / 16, 3).mean((2, 3))


DETECTOR = ModelSpec(
    name="detector",
    system="none",
    summary="Votes for two classes.",
    inputs=(
        TensorSpec("features", "FP32", ("images", 3, "height", "width"), "feature map"),
        TensorSpec("rois", "FP32", ("count", 5), "batch index and corners"),
    ),
    outputs=(TensorSpec("votes", "FP32", ("count", 2), "mean over the bins", tolerance=Tolerance(1e-5, 1e-6, "sums")),),
    max_batch_size=0,
    paper="R-FCN",
    custom_ops=(Op("neurips16", "PSRoIPool"),),
)


@pytest.fixture(scope="module")
def detector() -> nn.Module:
    torch.manual_seed(0)
    return Detector().eval()


@pytest.fixture(scope="module")
def export(detector: nn.Module, tmp_path_factory: pytest.TempPathFactory):
    """Exports the detector, inlined or not, once each."""
    example = {"features": torch.randn(2, 3, 8, 9), "rois": torch.tensor([[0.0, 0, 0, 99, 90], [1, 30, 20, 140, 99]])}

    @functools.cache
    def run(*, inline: bool) -> Path:
        return export_module(
            detector, example, DETECTOR, tmp_path_factory.mktemp("detector") / "model.onnx", inline=inline
        )

    return run


@pytest.mark.parametrize("form", ["body", "inlined", "kernel"])
@pytest.mark.parametrize(("images", "height", "width", "count"), [(2, 8, 9, 3), (1, 11, 6, 7), (3, 5, 5, 0)])
def test_exported_by_dynamo(
    export, detector: nn.Module, request, form: str, images: int, height: int, width: int, count: int
) -> None:
    """The file answers as torch does, whatever runs the operator, at sizes other than the example's."""
    model = onnx.load(export(inline=form == "inlined"))
    assert [f.name for f in model.functions] == ([] if form == "inlined" else ["PSRoIPool"])
    session = open_session(model, request.getfixturevalue("ops_library") if form == "kernel" else None)
    features = torch.randn(images, 3, height, width)
    corners = torch.rand(count, 2) * 100 - 10
    rois = torch.cat([torch.randint(images, (count, 1)), corners, corners + torch.rand(count, 2) * 100], dim=1)
    (got,) = session.run(None, {"features": features.numpy(), "rois": rois.numpy()})
    with torch.no_grad():
        want = detector(features, rois).numpy()
    assert got.shape == (count, 2)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
