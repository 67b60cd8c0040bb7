from __future__ import annotations

import pytest
import torch

from neurips16.training.errors import CheckpointError
from neurips16.training.systems.rfcn.resnet import ResNet, fuse_norms, load_imagenet_weights, torchvision_key


def small(**options):
    torch.manual_seed(0)
    return ResNet(**({"depth": 50, "width": 4, "stride_in_1x1": False} | options)).eval()


def as_torchvision(network):
    """Its weights as torchvision would have saved those of a classifier of this form."""
    torch.manual_seed(1)
    weights = {torchvision_key(k): torch.rand(v.shape) + 0.5 for k, v in network.state_dict().items()}
    return weights | {"fc.weight": torch.zeros(10, 128), "fc.bias": torch.zeros(10)}


@pytest.mark.parametrize(("atrous", "stride"), [(True, 16), (False, 32)])
@pytest.mark.parametrize("depth", [18, 50])
def test_strides_and_channels(depth, atrous, stride):
    network = small(depth=depth, atrous=atrous)
    conv4, conv5 = network(torch.rand(2, 3, 96, 70))
    assert conv4.shape == (2, network.conv4_channels, 6, 5)
    assert conv5.shape == (2, network.conv5_channels, -(-96 // stride), -(-70 // stride))
    assert network.conv5_stride == stride
    assert network.conv5_channels == 4 * 8 * (4 if depth == 50 else 1)


@pytest.mark.parametrize(("depth", "stride_in_1x1"), [(18, False), (50, False), (50, True)])
def test_the_dilated_stage_sees_what_the_strided_one_sees(depth, stride_in_1x1):
    """The same weights: where the strided stage has a value, the dilated one has the same (away from the edges)."""
    form = {"depth": depth, "stride_in_1x1": stride_in_1x1}
    dilated, strided = small(**form), small(**form, atrous=False)
    strided.load_state_dict(dilated.state_dict())
    conv4 = torch.rand(1, dilated.conv4_channels, 24, 24)
    with torch.no_grad():
        fine, coarse = dilated.conv5(conv4), strided.conv5(conv4)
    torch.testing.assert_close(fine[:, :, 8:16:2, 8:16:2], coarse[:, :, 4:8, 4:8], rtol=1e-4, atol=1e-4)


def test_the_published_forms_have_their_numbers_of_weights():
    """ResNet-50 and ResNet-101 without classifier: 23,508,032 and 42,500,160 weights (He et al. 2015)."""
    for depth, count in ((50, 23_508_032), (101, 42_500_160)):
        with torch.device("meta"):
            network = ResNet(depth, norm="batch")
        assert sum(p.numel() for p in network.parameters()) == count


def test_torchvision_s_names():
    assert torchvision_key("stem.conv.weight") == "conv1.weight"
    assert torchvision_key("stem.norm.running_var") == "bn1.running_var"
    assert torchvision_key("conv2.1.conv3.conv.weight") == "layer1.1.conv3.weight"
    assert torchvision_key("conv5.0.shortcut.norm.bias") == "layer4.0.downsample.1.bias"


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_import_fills_every_tensor(tmp_path, norm):
    network = small(norm=norm)
    weights = as_torchvision(network)
    torch.save(weights, tmp_path / "weights.pth")
    load_imagenet_weights(network, tmp_path / "weights.pth")
    for key, value in network.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(value, weights[torchvision_key(key)]), key


def test_import_lists_all_that_does_not_fit(tmp_path):
    weights = as_torchvision(small())
    del weights["conv1.weight"]
    weights["layer9.0.conv1.weight"] = torch.zeros(1)
    weights["bn1.bias"] = torch.zeros(7)
    torch.save(weights, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError) as raised:
        load_imagenet_weights(small(), tmp_path / "weights.pth")
    for part in (
        "conv1.weight is missing",
        "layer9.0.conv1.weight belongs to no layer",
        r"bn1.bias has shape [7], expected [4]",
    ):
        assert part in str(raised.value)


def test_import_of_another_file(tmp_path):
    (tmp_path / "text").write_text("no weights")
    torch.save([1, 2], tmp_path / "list")
    for name, text in (("text", "cannot be read"), ("list", "holds a list"), ("missing", "cannot be read")):
        with pytest.raises(CheckpointError, match=text):
            load_imagenet_weights(small(), tmp_path / name)


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_fused_norms_compute_the_same(norm):
    network = small(norm=norm)
    weights = as_torchvision(network)
    network.load_state_dict(
        {k: weights[torchvision_key(k)].to(v.dtype) for k, v in network.state_dict().items()}, strict=True
    )
    image = torch.rand(1, 3, 64, 64)
    fused = fuse_norms(network)
    assert not any("norm" in name for name in fused.state_dict())
    with torch.no_grad():
        for got, want in zip(fused(image), network(image), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3 * float(want.abs().max()))


def test_frozen_stages_learn_nothing():
    network = small(norm="batch", frozen_stages=2)
    learnt = {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad}
    assert learnt == {"conv3", "conv4", "conv5"}


def test_unknown_forms_are_refused():
    with pytest.raises(ValueError, match=r"got 51 and 'batch'"):
        ResNet(51, norm="batch")
