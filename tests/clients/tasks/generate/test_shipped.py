"""The clients against a real Triton with the generators that ship: what they draw is what was asked for."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

from neurips16.clients import Client
from neurips16.clients.tasks.generate.calls import all_units, preferred_inputs, swap_grid

MODELS = Path(__file__).parents[4] / "serving/models"
GENERATORS = ("infogan", "infogan_encoder", "disentangle", "disentangle_decoder", "dgn_am")
MISSING = [name for name in GENERATORS if not (MODELS / name).is_dir()]
pytestmark = [
    pytest.mark.triton,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("pytriton") is None, reason="needs the serving extra"),
    pytest.mark.skipif(bool(MISSING), reason=f"needs models that do not ship yet: {', '.join(MISSING)}"),
]


@pytest.fixture(scope="module")
def url():
    from neurips16.serving.triton.server import TritonServer

    with TritonServer(MODELS, grpc_port=0, http_port=None, metrics_port=None) as server:
        yield server.url


@pytest.fixture(scope="module")
def client(url):
    with Client(url) as client:
        yield client


def test_codes_of_files_are_printed(url, run_command):
    folder = MODELS.parents[1] / "clients/tasks/generate/examples"
    status, out, err = run_command("read-codes", folder, "--url", url)
    assert (status, err) == (0, "")
    read = [
        re.fullmatch(r".*/\d-(\w+)-.*: category (\d) \(\d\.\d{3}\), continuous [+-]\d.* [+-]\d.*", line)
        for line in out.splitlines()
    ]
    assert [found and found.groups() for found in read] == [("three", "3"), ("seven", "7"), ("two", "2"), ("five", "5")]
    status, out, err = run_command(
        "read-codes", folder / "nothing.png", folder / "1-three-bold.png", "--json", "--url", url
    )
    assert (status, err.count("\n")) == (1, 1)
    codes = json.loads(out)
    assert [len(codes["category_probabilities"]), len(codes["continuous"])] == [1, 2]


def test_the_recogniser_reads_the_category_that_was_drawn(client):
    asked = np.repeat(np.arange(10), 10)[:, None]
    images = client.generate(category=asked, seed=0)
    assert (client.read_codes(images).categories == asked).mean() > 0.9
    again = client.generate(category=asked, seed=0)
    np.testing.assert_array_equal(images, again)


def test_a_continuous_code_changes_the_image_and_is_read_back(client):
    values = np.linspace(-1, 1, 9)
    for code in range(2):
        continuous = np.zeros((9, 2))
        continuous[:, code] = values
        images = client.generate(category=[[1]] * 9, continuous=continuous, seed=3)
        read = client.read_codes(images).continuous[:, code]
        assert np.corrcoef(values, read)[0, 1] > 0.5


def test_a_swap_keeps_the_class_and_changes_the_picture(client):
    contents = list(client.generate(category=np.arange(10)[:, None], seed=0))
    styles = list(client.generate(category=np.arange(10)[:, None], seed=50))
    images = client.run(swap_grid(styles, contents))
    assert images.shape == (10, 10, 28, 28, 1)
    read = client.read_codes(images.reshape(-1, 28, 28, 1)).categories.reshape(10, 10)
    wanted = client.read_codes(np.stack(contents)).categories[:, 0]
    assert (read == wanted).mean() > 0.7  # two systems that were trained apart agree on what is drawn


def test_preferred_inputs_rise_above_real_images(client):
    for one in client.run(preferred_inputs(client.run(all_units()), steps=200, seed=0, step_size=None)):
        assert one.activations[-1] > one.activations[0]
        assert one.activations[-1] > one.real_activation + 2 * one.real_std
