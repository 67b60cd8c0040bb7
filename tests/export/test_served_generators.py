"""The generators' whole way with tiny networks: exported, published, served by a real Triton, asked by the clients."""

from __future__ import annotations

import importlib.util
import json
import threading

import numpy as np
import onnxruntime as ort
import pytest

from neurips16.clients import Client
from neurips16.clients.command import main
from neurips16.clients.media.picture_grid import read_picture, write_picture
from neurips16.clients.protocol.errors import InvalidInputError
from neurips16.export.run_export import run_export

from .generator_checkpoints import dgn_am, disentangle, infogan, save

pytestmark = [
    pytest.mark.triton,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("pytriton") is None, reason="nvidia-pytriton is not installed"),
]


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    for network in (infogan(), disentangle(), dgn_am()):
        run_export(network.system, save(network, folder), folder / "models", no_data=True)
    return folder / "models"


@pytest.fixture(scope="module")
def url(repository):
    from neurips16.serving import TritonServer
    from neurips16.serving.repository import prepare

    prepare(repository)
    with TritonServer(repository, grpc_port=0, http_port=None, metrics_port=None) as server:
        yield server.url


@pytest.fixture
def client(url):
    with Client(url) as client:
        yield client


def test_the_same_seed_gives_the_same_picture_on_the_server_and_in_process(client, repository):
    served = client.generate(category=3, continuous=(0.5, -1), count=8, seed=7)
    assert served.shape == (8, 12, 12, 1)
    session = ort.InferenceSession(repository / "infogan/1/model.onnx", providers=["CPUExecutionProvider"])
    inputs = {
        "category": np.full((8, 1), 3),
        "continuous": np.tile(np.float32([0.5, -1]), (8, 1)),
        "seed": np.arange(7, 15)[:, None],
    }
    (want,) = session.run(None, inputs)
    assert abs(served.astype(int) - want).max() <= 1
    np.testing.assert_array_equal(served, client.generate(category=3, continuous=(0.5, -1), count=8, seed=7))
    assert abs(served[3].astype(int) - client.generate(category=3, continuous=(0.5, -1), seed=10)[0]).max() <= 1


def test_requests_with_other_parameters_at_the_same_time_get_their_own_answers(client, url):
    alone = [client.preferred_input(unit, steps=5 + 10 * unit, seed=unit) for unit in range(4)]
    together: dict[int, object] = {}

    def ask(unit: int) -> None:
        together[unit] = client.preferred_input(unit, steps=5 + 10 * unit, seed=unit)

    threads = [threading.Thread(target=ask, args=(unit,)) for unit in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for unit, want in enumerate(alone):
        got = together[unit]
        assert len(got.activations) == 6 + 10 * unit
        np.testing.assert_allclose(got.activations, want.activations, atol=1e-3)
        assert got.real_activation == pytest.approx((unit + 1) / 10)


def test_images_are_swapped_read_and_interpolated(client):
    images = client.generate(category=1, count=3)
    assert client.read_codes(images).categories.shape == (3, 1)
    swapped = client.swap_style(images[0], images)
    assert swapped.shape == (3, 12, 12, 1)
    between = client.interpolate(images[0], images[1], steps=3)
    assert between.shape == (3, 3, 12, 12, 1)
    assert abs(between[0, 0].astype(int) - swapped[0]).max() <= 1  # an image with itself
    corner = client.swap_style(images[0], images[1])[0]
    assert abs(between[2, 0].astype(int) - corner).max() <= 1  # the class of the second, the style of the first


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda client: client.generate(category=4), "category 4 is out of range: infogan takes 0 to 3"),
        (lambda client: client.generate(continuous=(1,)), "continuous has 1 numbers, infogan takes 2"),
        (lambda client: client.preferred_input(1, steps=0), "steps 0 is out of range: dgn_am takes 1 to 400"),
        (lambda client: client.preferred_input(1, steps=10**6), "takes 1 to 400"),
        (
            lambda client: client.swap_style(np.zeros((28, 28), np.uint8), np.zeros((12, 12), np.uint8)),
            r"style_image has shape \[28, 28\]: disentangle takes 12 by 12 pixels",
        ),
    ],
)
def test_bad_input_is_one_line_with_what_the_server_permits(client, ask, says):
    with pytest.raises(InvalidInputError, match=says) as raised:
        ask(client)
    assert "\n" not in str(raised.value)


@pytest.fixture
def command(monkeypatch, capsys, url):
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setenv("NEURIPS16_URL", url)
        monkeypatch.setattr("sys.argv", ["neurips16", "generate", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run


def test_commands_write_pictures(command, tmp_path):
    grid = tmp_path / "grid.png"
    status, out, _ = command("infogan", "--category", 3, "--count", 4, "--seed", 7, "--output", grid, "--scale", 1)
    assert (status, out) == (0, f"wrote {grid}\n")
    assert read_picture(grid).shape == (16, 58, 1)
    one = tmp_path / "one.png"
    assert command("infogan", "--category", 3, "--count", 1, "--seed", 7, "--output", one, "--scale", 1)[0] == 0
    np.testing.assert_array_equal(read_picture(one), read_picture(grid)[2:14, 2:14])
    status, *_ = command("infogan", "--traverse", 0, "--count", 5, "--output", grid, "--scale", 1)
    assert status == 0
    assert read_picture(grid).shape == (58, 72, 1)
    for name, value in (("a", 40), ("b", 200)):
        write_picture(tmp_path / f"{name}.png", np.full((12, 12, 1), value, np.uint8))
    files = ["--style", tmp_path / "a.png", "--content", tmp_path / "b.png", "--output", grid, "--scale", 1]
    assert command("disentangle", *files)[0] == 0
    assert read_picture(grid).shape == (30, 30, 1)
    assert command("disentangle", *files, "--interpolate", 4)[0] == 0
    assert read_picture(grid).shape == (58, 58, 1)
    status, out, _ = command(
        "dgn-am", "--unit", 1, "--unit", 2, "--steps", 20, "--output", tmp_path / "a.gif", "--json"
    )
    assert status == 0
    assert [one["unit"] for one in json.loads(out)["preferred_inputs"]] == [1, 2]
    assert (tmp_path / "a.gif").stat().st_size > 100
    assert command("dgn-am", "--steps", 20, "--strip", "--output", grid, "--scale", 1)[0] == 0
    assert read_picture(grid).shape == (58, 240, 1)


def test_commands_name_what_is_wrong_in_one_line(command, tmp_path):
    for arguments, says in (
        (["infogan", "--category", 9], "error: category 9 is out of range: infogan takes 0 to 3\n"),
        (
            ["infogan", "--category", "three"],
            "error: --category takes whole numbers with commas between them, got 'three'\n",
        ),
        (["dgn-am", "--steps", 0], "error: steps 0 is out of range: dgn_am takes 1 to 400\n"),
    ):
        status, _, err = command(*arguments, "--output", tmp_path / "grid.png")
        assert (status, err) == (2, says)
    assert not (tmp_path / "grid.png").exists()
