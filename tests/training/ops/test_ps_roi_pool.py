from __future__ import annotations

import numpy as np
import pytest
import torch
from op_tester import Case
from ps_roi_pool_cases import BAD_ROIS, CASES, reference

from neurips16.training.ops import ps_roi_pool

torch.set_num_threads(1)

ROIS = torch.tensor([[0.0, 0, 0, 60, 40], [1, 10, 20, 90, 30], [1, 300, 300, 400, 400], [0, -20, 20, 40, 20.5]])


@pytest.fixture
def scores() -> torch.Tensor:
    """Two images, two classes, 2 x 2 bins; some bins of `ROIS` overlap, some are empty."""
    torch.manual_seed(0)
    return torch.randn(2, 8, 3, 4, dtype=torch.float64, requires_grad=True)


class TestForward:
    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_reference(self, case: Case) -> None:
        scores, rois = torch.from_numpy(case.inputs["scores"]), torch.from_numpy(case.inputs["rois"])
        got = ps_roi_pool(scores, rois, **case.attributes)
        want = reference(**case.inputs, **case.attributes)
        assert got.dtype == torch.float32
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)

    def test_scores_need_not_be_contiguous(self) -> None:
        case = CASES[2]
        scores, rois = torch.from_numpy(case.inputs["scores"]), torch.from_numpy(case.inputs["rois"])
        strided = scores.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
        assert not strided.is_contiguous()
        column_major = rois.T.contiguous().T
        assert torch.equal(
            ps_roi_pool(strided, column_major, **case.attributes), ps_roi_pool(scores, rois, **case.attributes)
        )

    def test_half_precision_is_pooled_in_float32_under_autocast(self) -> None:
        scores = torch.randn(1, 4, 5, 5, dtype=torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            got = ps_roi_pool(scores, ROIS[:1], 1 / 16, 2)
        assert torch.equal(got, ps_roi_pool(scores.float(), ROIS[:1], 1 / 16, 2))


class TestGradient:
    def test_first_and_second(self, scores: torch.Tensor) -> None:
        def pool(scores: torch.Tensor) -> torch.Tensor:
            return ps_roi_pool(scores, ROIS, 1 / 16, 2)

        assert torch.autograd.gradcheck(pool, scores)
        assert torch.autograd.gradgradcheck(pool, scores)

    def test_each_bin_shares_its_gradient_among_its_pixels(self, scores: torch.Tensor) -> None:
        """The gradient of the sum of all bins: 1 for each class and each bin that has a pixel."""
        pooled = ps_roi_pool(torch.ones_like(scores, requires_grad=True), ROIS, 1 / 16, 2)
        filled = pooled.detach().sum()  # a bin of ones is 1, an empty bin 0
        ps_roi_pool(scores, ROIS, 1 / 16, 2).sum().backward()
        assert 0 < filled < pooled.numel()
        assert scores.grad.sum().item() == pytest.approx(filled.item())

    def test_no_rois(self, scores: torch.Tensor) -> None:
        ps_roi_pool(scores, ROIS[:0], 1 / 16, 2).sum().backward()
        assert not scores.grad.any()

    def test_not_in_the_boxes(self, scores: torch.Tensor) -> None:
        rois = ROIS.clone().requires_grad_()
        ps_roi_pool(scores, rois, 1 / 16, 2).sum().backward()
        assert rois.grad is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own testing tools
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("count", [0, 4])
def test_torch_s_own_check_of_a_custom_operator(scores: torch.Tensor, count: int) -> None:
    """Schema, shape function, registration of the gradient, and tracing with symbolic sizes."""
    torch.library.opcheck(torch.ops.neurips16.ps_roi_pool.default, (scores, ROIS[:count], 1 / 16, 2))
    gradient = torch.randn(count, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    arguments = (gradient, ROIS[:count], 1 / 16, 2, 3, 4)
    torch.library.opcheck(torch.ops.neurips16.ps_roi_pool_backward.default, arguments)


class TestRefuses:
    @pytest.mark.parametrize(("roi", "says"), BAD_ROIS)
    def test_roi(self, roi: list[float], says: str) -> None:
        with pytest.raises(ValueError, match=r"RoI 1 is \[") as caught:
            ps_roi_pool(torch.zeros(2, 1, 3, 3), torch.tensor([[0.0, 0, 0, 9, 9], roi]), 1.0, 1)
        assert says in str(caught.value)

    @pytest.mark.parametrize(
        ("scores", "rois", "scale", "k", "says"),
        [
            ((10, 4, 4), (1, 5), 1.0, 1, r"scores must be \[N, C\*k\*k, H, W\], got \[10, 4, 4\]"),
            ((1, 10, 4, 4), (1, 4), 1.0, 1, r"rois must be \[R, 5\].*got \[1, 4\]"),
            ((1, 10, 4, 4), (1, 5), 1.0, 3, "10 channels, which 3 x 3 bins do not divide evenly"),
            ((1, 10, 4, 4), (1, 5), 1.0, 0, "group_size"),
            ((1, 10, 4, 4), (1, 5), 0.0, 1, "spatial_scale"),
        ],
    )
    def test_shape_or_attribute(self, scores: tuple, rois: tuple, scale: float, k: int, says: str) -> None:
        with pytest.raises(ValueError, match=says):
            ps_roi_pool(torch.zeros(scores), torch.zeros(rois), scale, k)

    def test_half_precision(self) -> None:
        with pytest.raises(ValueError, match=r"float32 or float64.*torch\.float16"):
            ps_roi_pool(torch.zeros(1, 1, 3, 3, dtype=torch.float16), ROIS[:1], 1.0, 1)
