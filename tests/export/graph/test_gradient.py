"""The written gradients, held against autograd."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neurips16.export.errors import ExportError
from neurips16.export.graph.gradient import Centre, check_layers, run_backward, run_forward

IMAGE, FLAT = (2, 3, 11, 13), (2, 12)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(12, 5), FLAT),
        (nn.Linear(12, 5, bias=False), FLAT),
        (nn.Conv2d(3, 4, 3, 1, 1), IMAGE),
        (nn.Conv2d(3, 4, 5, 2, 2), IMAGE),
        (nn.Conv2d(3, 4, 4, 3, 0), IMAGE),  # the last row and columns are seen by no window
        (nn.Conv2d(3, 4, (3, 2), (2, 1), (1, 0)), IMAGE),
        (nn.ConvTranspose2d(3, 4, 4, 2, 1), IMAGE),
        (nn.ConvTranspose2d(3, 4, 3, 1, 1), IMAGE),
        (nn.MaxPool2d(2, 2), IMAGE),
        (nn.MaxPool2d(3, 2), IMAGE),
        (nn.ReLU(), IMAGE),
        (nn.LeakyReLU(0.3), IMAGE),
        (nn.Sigmoid(), IMAGE),
        (nn.Identity(), IMAGE),
        (nn.Flatten(), IMAGE),
        (nn.Unflatten(1, (3, 2, 2)), FLAT),
        (Centre(8), IMAGE),
        (Centre(11), (2, 3, 11, 11)),
    ],
    ids=str,
)
def test_each_rule_is_autograds(layer, shape):
    torch.manual_seed(0)
    layer = layer.double()
    inputs = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    values = run_forward([layer], inputs)
    cotangent = torch.randn_like(values[-1])
    (want,) = torch.autograd.grad(values[-1], inputs, cotangent)
    with torch.no_grad():
        got = run_backward([layer], run_forward([layer], inputs.detach()), cotangent)
    torch.testing.assert_close(got, want)


def test_a_pooling_of_equal_values_gives_to_the_first():
    values = torch.ones(1, 2, 5, 5, requires_grad=True)
    layer = nn.MaxPool2d(3, 2)
    out = layer(values)
    cotangent = torch.rand_like(out)
    (want,) = torch.autograd.grad(out, values, cotangent)
    with torch.no_grad():
        got = run_backward([layer], run_forward([layer], values.detach()), cotangent)
    torch.testing.assert_close(got, want)


def test_what_has_no_rule_is_refused():
    with pytest.raises(
        ExportError, match=r"no rule for the gradient of BatchNorm2d, Tanh; there are rules for: Centre"
    ):
        check_layers([nn.ReLU(), nn.Tanh(), nn.BatchNorm2d(3)])
    layer = nn.Conv2d(4, 4, 3, groups=2)
    values = run_forward([layer], torch.zeros(1, 4, 5, 5))
    with pytest.raises(ExportError, match="groups, dilation or named padding"):
        run_backward([layer], values, values[-1])
    pool = nn.MaxPool2d((2, 3))
    values = run_forward([pool], torch.zeros(1, 1, 6, 6))
    with pytest.raises(ExportError, match="one kernel size and stride"):
        run_backward([pool], values, values[-1])
