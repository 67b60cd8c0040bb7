from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from neurips16.training.errors import CheckpointError
from neurips16.training.layers.soundnet_layers import TRUNKS
from neurips16.training.systems.soundnet.network import SoundNet, load_soundnet


@pytest.fixture(scope="module")
def network() -> SoundNet:
    """Every tensor different, statistics included."""
    torch.manual_seed(0)
    network = SoundNet().eval()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + ("running_var" in name))
    return network


@pytest.fixture(scope="module")
def dictionary(network) -> dict:
    """The network in the NumPy layout, made by hand from the description of it."""
    layers = {}
    blocks = {f"conv{i}": block for i, block in enumerate(network.trunk.blocks, start=1)}
    for name, block in blocks.items():
        layers[name] = {
            "weights": block.conv.weight.detach().numpy().transpose(2, 1, 0)[:, None],  # [K, 1, in, out]
            "biases": block.conv.bias.detach().numpy(),
            "gamma": block.norm.weight.detach().numpy(),
            "beta": block.norm.bias.detach().numpy(),
            "mean": block.norm.running_mean.numpy(),
            "var": block.norm.running_var.numpy(),
        }
    for name, head in (("conv8", network.objects), ("conv8_2", network.scenes)):
        layers[name] = {"weights": head.weight.detach().numpy().transpose(2, 1, 0)[:, None],
                        "biases": head.bias.detach().numpy()}  # fmt: skip
    return layers


@pytest.fixture(scope="module")
def state(network) -> dict:
    """The network in the layout of a state dict with two-dimensional kernels."""
    tensors = {}
    for i, block in enumerate(network.trunk.blocks, start=1):
        tensors |= {f"conv{i}.weight": block.conv.weight.detach()[..., None], f"conv{i}.bias": block.conv.bias.detach()}
        tensors |= {f"batchnorm{i}.{k}": v for k, v in block.norm.state_dict().items()}
    for name, head in (("conv8_objs", network.objects), ("conv8_scns", network.scenes)):
        tensors |= {f"{name}.weight": head.weight.detach()[..., None], f"{name}.bias": head.bias.detach()}
    return tensors


def same(got: SoundNet, want: SoundNet) -> None:
    assert not got.training
    for name, tensor in want.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(got.state_dict()[name], tensor), name


def test_the_numpy_dictionary(network, dictionary, tmp_path):
    assert dictionary["conv1"]["weights"].shape == (64, 1, 1, 16)
    np.save(tmp_path / "sound8.npy", dictionary)  # an array of one object, as the published file is
    same(load_soundnet(tmp_path / "sound8.npy"), network)


def test_the_state_dict(network, state, tmp_path):
    assert state["conv2.weight"].shape == (32, 16, 32, 1)
    torch.save(state, tmp_path / "sound8.pth")
    same(load_soundnet(tmp_path / "sound8.pth"), network)


def test_a_checkpoint_of_ours(tmp_path):
    network = SoundNet(depth=5, width=1 / 16, objects=3, scenes=2)
    content = {"neurips16": {"system": "soundnet"}, "hyper_parameters": dict(network.hparams)}
    torch.save({**content, "state_dict": network.state_dict()}, tmp_path / "own.ckpt")
    same(load_soundnet(tmp_path / "own.ckpt"), network)


def test_every_wrong_tensor_is_named(state, dictionary, tmp_path):
    wrong = dict(state) | {"conv3.weight": state["conv4.weight"], "fc.weight": torch.zeros(1)}
    del wrong["batchnorm2.running_var"]
    torch.save(wrong, tmp_path / "wrong.pth")
    with pytest.raises(CheckpointError) as caught:
        load_soundnet(tmp_path / "wrong.pth")
    text = str(caught.value)
    assert "batchnorm2.running_var is missing" in text
    assert "fc.weight is left over" in text
    assert "conv3.weight has shape [128, 64, 8], expected [64, 32, 16]" in text
    np.save(tmp_path / "wrong.npy", {name: layer for name, layer in dictionary.items() if name != "conv8_2"})
    with pytest.raises(CheckpointError, match="conv8_2/weights is missing"):
        load_soundnet(tmp_path / "wrong.npy")


def test_a_file_that_holds_code_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("it was run",))

    with (tmp_path / "evil.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump({"conv1": Evil()}, file)
    with pytest.raises(CheckpointError, match="it wants to call"):
        load_soundnet(tmp_path / "evil.npy")
    torch.save({"conv1": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_soundnet(tmp_path / "evil.pth")


@pytest.mark.parametrize("content", [b"", b"hello", None])
def test_files_of_another_kind(tmp_path, content):
    for path in (tmp_path / "x.npy", tmp_path / "x.pth"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot be read"):
            load_soundnet(path)
    np.save(tmp_path / "numbers.npy", np.zeros(3))
    with pytest.raises(CheckpointError, match="not a dictionary"):
        load_soundnet(tmp_path / "numbers.npy")
    assert len(TRUNKS[8]) == 7
