"""The generators' operations, driven by hand: what is sent for what is asked, and what is refused."""

from __future__ import annotations

import inspect

import grpc
import numpy as np
import pytest
from tritonclient.grpc import model_config_pb2

from neurips16.clients import AsyncClient, Client
from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import InvalidInputError, ModelNotFoundError, UnexpectedReplyError
from neurips16.clients.tasks.generate import calls as generation

SIDE = 6


class Models:
    """A server's models as functions; keeps what it was asked."""

    def __init__(self):
        self.requests: list[tuple[str, dict[str, np.ndarray]]] = []
        self.changes: dict[str, dict[str, str]] = {}
        self.max_batch_size = 4
        self.configs = {
            "infogan": (
                {"category": ("INT64", [1]), "continuous": ("FP32", [2]), "seed": ("INT64", [1])},
                {"image": ("UINT8", [SIDE, SIDE, 1])},
                {
                    "categories": "10",
                    "category_range": "0 9",
                    "continuous_range": "-2 2",
                    "seed_range": "0 2147483647",
                },
            ),
            "plain": (
                {"seed": ("INT64", [1])},
                {"image": ("UINT8", [SIDE, SIDE, 1])},
                {"categories": "", "seed_range": "0 9"},
            ),
            "infogan_encoder": (
                {"image": ("UINT8", [SIDE, SIDE, 1])},
                {"category_probabilities": ("FP32", [5]), "continuous": ("FP32", [2])},
                {"categories": "3 2"},
            ),
            "disentangle": (
                {"style_image": ("UINT8", [SIDE, SIDE, 1]), "class_image": ("UINT8", [SIDE, SIDE, 1])},
                {"image": ("UINT8", [SIDE, SIDE, 1]), "specified": ("FP32", [2]), "unspecified": ("FP32", [2])},
                {},
            ),
            "disentangle_decoder": (
                {"specified": ("FP32", [2]), "unspecified": ("FP32", [2])},
                {"image": ("UINT8", [SIDE, SIDE, 1])},
                {},
            ),
            "dgn_am": (
                {
                    name: ("FP32" if name == "step_size" else "INT64", [1])
                    for name in ("unit", "steps", "step_size", "seed")
                },
                {
                    "image": ("UINT8", [SIDE, SIDE, 1]),
                    "frames": ("UINT8", [3, SIDE, SIDE, 1]),
                    "activations": ("FP32", [401]),
                },
                {
                    "unit_range": "0 9",
                    "steps_range": "1 400",
                    "step_size_range": "0 100",
                    "seed_range": "0 2147483647",
                    "step_size": "0.5",
                    "real_activations": " ".join(str(i / 10) for i in range(10)),
                    "real_deviations": " ".join(["0.25"] * 10),
                },
            ),
        }

    def run(self, operation, *, timeout_s=None):
        step = lambda: next(operation)  # noqa: E731
        while True:
            try:
                group = step()
            except StopIteration as stop:
                return stop.value
            answers = [self.answer(rpc) for rpc in group]
            step = lambda answers=answers: operation.send(answers)  # noqa: E731

    def answer(self, rpc):
        if rpc.model not in self.configs:
            raise ModelNotFoundError("no such model", code=grpc.StatusCode.NOT_FOUND, model=rpc.model)
        inputs, outputs, parameters = self.configs[rpc.model]
        if rpc.method == "ModelConfig":
            config = model_config_pb2.ModelConfig(name=rpc.model, max_batch_size=self.max_batch_size)
            for part, tensors in ((config.input, inputs), (config.output, outputs)):
                for name, (dtype, dims) in tensors.items():
                    part.add(name=name, data_type=f"TYPE_{dtype}", dims=dims)
            for key, value in (parameters | self.changes.get(rpc.model, {})).items():
                config.parameters[key].string_value = value
            return rpc.decode(messages.service_pb2.ModelConfigResponse(config=config))
        request = rpc.request
        given = {}
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            assert tensor.datatype == inputs[tensor.name][0]
            given[tensor.name] = np.frombuffer(raw, messages.DTYPES[tensor.datatype][0]).reshape(tuple(tensor.shape))
            assert list(tensor.shape[1:]) == inputs[tensor.name][1]
        assert set(given) == set(inputs)
        self.requests.append((rpc.model, given))
        rows = len(next(iter(given.values())))
        assert rows <= self.max_batch_size
        return {o.name: self.output(rpc.model, o.name, given, rows, outputs) for o in request.outputs}

    def output(self, model, name, given, rows, outputs):
        dtype, dims = outputs[name]
        if model == "disentangle" and name != "image":
            source = given["class_image" if name == "specified" else "style_image"]
            return source[:, 0, :2, 0].astype(np.float32)
        if name == "activations":
            return np.arange(401, dtype=np.float32) + given["unit"]
        value = sum(v.reshape(rows, -1).astype(np.float64).sum(1) for v in given.values())
        full = np.zeros((rows, *dims), messages.DTYPES[dtype][0])
        full += np.clip(np.round(value), 0, 255).astype(full.dtype).reshape(rows, *[1] * len(dims))
        return full

    def sent(self, name: str) -> np.ndarray:
        return np.concatenate([given[name] for _, given in self.requests])


@pytest.fixture
def models():
    return Models()


def generate(model="infogan", **changes):
    asked = {"category": None, "continuous": None, "count": None, "seed": 0, **changes}
    return generation.generate(model, **asked)


def test_one_category_for_all_and_a_seed_for_each(models):
    images = models.run(generate(category=3, continuous=(0.5, -1), count=6, seed=7))
    assert images.shape == (6, SIDE, SIDE, 1)
    assert [len(given["seed"]) for _, given in models.requests] == [4, 2]  # as many as the model takes at a time
    assert models.sent("seed")[:, 0].tolist() == [7, 8, 9, 10, 11, 12]
    assert models.sent("category").tolist() == [[3]] * 6
    assert models.sent("continuous").tolist() == [[0.5, -1]] * 6
    assert images[:, 0, 0, 0].tolist() == [round(3 + 0.5 - 1 + 7 + i) for i in range(6)]


def test_without_codes_the_categories_come_in_turn(models):
    models.run(generate(count=12))
    assert models.sent("category")[:, 0].tolist() == [*range(10), 0, 1]
    assert not models.sent("continuous").any()
    assert models.run(generate()).shape[0] == 1


def test_each_image_may_have_codes_of_its_own(models):
    images = models.run(generate(category=[[1], [2], [3]], continuous=[[0, 0], [1, 1], [2, 2]]))
    assert len(images) == 3
    assert models.sent("category")[:, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"category": 12}, "category 12 is out of range: infogan takes 0 to 9"),
        ({"category": -1}, "category -1 is out of range: infogan takes 0 to 9"),
        ({"category": 1.5}, "category is float64, infogan takes int64"),
        ({"category": (1, 2)}, "category has 2 numbers, infogan takes 1"),
        ({"continuous": (0.5, -1, 2)}, "continuous has 3 numbers, infogan takes 2"),
        ({"continuous": 0.5}, "continuous has 1 numbers, infogan takes 2"),
        ({"continuous": (0.5, 7)}, "continuous 7 is out of range: infogan takes -2 to 2"),
        ({"continuous": (0.5, float("nan"))}, "continuous nan is out of range: infogan takes -2 to 2"),
        ({"count": 0}, "count is at least 1, got 0"),
        ({"count": 2.5}, "count is a whole number, got 2.5"),
        ({"count": 5, "category": [[1], [2]]}, "codes are given for 2 images, count is 5"),
        ({"seed": -1}, "seed -1 is out of range: infogan takes 0 to 2147483647"),
        ({"seed": 2**31 - 1, "count": 2}, "seed 2.14748e"),
        ({"seed": "7"}, "seed is a whole number, got '7'"),
    ],
)
def test_codes_that_the_model_does_not_take_are_refused_before_anything_is_sent(models, changes, says):
    with pytest.raises(InvalidInputError) as raised:
        models.run(generate(**changes))
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not models.requests


def test_the_range_is_the_servers(models):
    models.changes["infogan"] = {"category_range": "0 19", "categories": "20"}
    models.run(generate(category=12))
    with pytest.raises(InvalidInputError, match="takes 0 to 19"):
        models.run(generate(category=20))
    models.changes["infogan"] = {"category_range": "all"}
    with pytest.raises(UnexpectedReplyError, match="no list of numbers"):
        models.run(generate(category=1))
    models.changes["infogan"] = {"category_range": "0"}
    with pytest.raises(UnexpectedReplyError, match="no range"):
        models.run(generate(category=1))


def test_codes_that_a_model_lacks_are_refused(models):
    assert len(models.run(generate("plain", count=2))) == 2
    with pytest.raises(InvalidInputError, match="has no categorical code"):
        models.run(generate("plain", category=1))
    with pytest.raises(InvalidInputError, match="has no continuous code"):
        models.run(generate("plain", continuous=(1,)))


def test_a_traversal_varies_one_code_and_keeps_the_seed_of_a_row(models):
    images = models.run(generation.traversal("infogan", 1, category=None, continuous=(0.25, 0), steps=5, seed=3))
    assert len(images) == 50
    varied = models.sent("continuous").reshape(10, 5, 2)
    np.testing.assert_allclose(varied[4, :, 1], [-2, -1, 0, 1, 2])
    assert (varied[:, :, 0] == 0.25).all()
    assert models.sent("seed").reshape(10, 5)[:, 0].tolist() == list(range(3, 13))
    assert (models.sent("seed").reshape(10, 5) == models.sent("seed").reshape(10, 5)[:, :1]).all()
    assert models.sent("category").reshape(10, 5)[:, 2].tolist() == list(range(10))
    with pytest.raises(InvalidInputError, match="continuous code 2 is out of range: infogan takes 0 to 1"):
        models.run(generation.traversal("infogan", 2, category=None, continuous=None, steps=5, seed=3))


def picture(value: int, *shape: int) -> np.ndarray:
    return np.full(shape or (SIDE, SIDE, 1), value, np.uint8)


def test_codes_are_read_by_code(models):
    codes = models.run(generation.read_codes(np.stack([picture(i) for i in range(3)])))
    assert [p.shape for p in codes.probabilities] == [(3, 3), (3, 2)]
    assert codes.categories.shape == (3, 2)
    assert codes.continuous.shape == (3, 2)


def test_one_style_goes_with_several_images(models):
    several = np.stack([picture(i) for i in (1, 2, 3)])
    assert models.run(generation.swap_style(picture(9, SIDE, SIDE), several)).shape == (3, SIDE, SIDE, 1)
    assert (models.sent("style_image") == 9).all()
    assert models.sent("class_image")[:, 0, 0, 0].tolist() == [1, 2, 3]
    with pytest.raises(InvalidInputError, match="3 of style_image and 2 of class_image"):
        models.run(generation.swap_style(several, several[:2]))


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (picture(1, 5, 5, 1), r"style_image has shape \[5, 5, 1\]: disentangle takes 6 by 6 pixels with 1 channel,"),
        (picture(1, SIDE, SIDE, 3), r"shape \[6, 6, 3\]: disentangle takes 6 by 6 pixels with 1 channel"),
        (picture(1).astype(np.float32), "style_image is float32: disentangle takes 6 by 6"),
        (np.empty((0, SIDE, SIDE, 1), np.uint8), r"shape \[0, 6, 6, 1\]"),
    ],
)
def test_images_of_another_size_are_refused(models, image, says):
    with pytest.raises(InvalidInputError, match=says):
        models.run(generation.swap_style(image, picture(1)))
    assert not models.requests


def test_a_grid_of_swaps_has_styles_in_rows(models):
    images = models.run(generation.swap_grid([picture(1), picture(2)], [picture(10), picture(20), picture(30)]))
    assert images.shape == (2, 3, SIDE, SIDE, 1)
    assert models.sent("style_image")[:, 0, 0, 0].tolist() == [1, 1, 1, 2, 2, 2]
    assert models.sent("class_image")[:, 0, 0, 0].tolist() == [10, 20, 30] * 2


def test_an_interpolation_has_the_class_along_the_rows(models):
    images = models.run(generation.interpolate(picture(0), picture(30), steps=4))
    assert images.shape == (4, 4, SIDE, SIDE, 1)
    sent = np.concatenate([given["specified"][:, 0] for model, given in models.requests if model.endswith("decoder")])
    np.testing.assert_allclose(sent.reshape(4, 4), np.repeat([[0], [10], [20], [30]], 4, 1))
    with pytest.raises(InvalidInputError, match="at least 2 steps"):
        models.run(generation.interpolate(picture(0), picture(30), steps=1))


def preferred(units=(7,), **changes):
    return generation.preferred_inputs(units, **{"steps": 200, "seed": 1, "step_size": None, **changes})


def test_a_preferred_input_comes_with_its_way(models):
    (found,) = models.run(preferred())
    assert (found.unit, found.seed) == (7, 1)
    assert found.image.shape == (SIDE, SIDE, 1)
    assert found.frames.shape == (3, SIDE, SIDE, 1)
    assert found.activations.tolist() == [7 + i for i in range(201)]  # what lies behind the last step is cut off
    assert found.real_activation == pytest.approx(0.7)
    assert found.real_std == 0.25
    assert models.sent("step_size").tolist() == [[0.5]]  # the model's own
    assert [one.unit for one in models.run(preferred(models.run(generation.all_units())))] == list(range(10))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"steps": 0}, "steps 0 is out of range: dgn_am takes 1 to 400"),
        ({"steps": 10**6}, r"steps 1e\+06 is out of range: dgn_am takes 1 to 400"),
        ({"steps": 2.5}, "steps is a whole number"),
        ({"units": [10]}, "unit 10 is out of range: dgn_am takes 0 to 9"),
        ({"units": []}, "no unit"),
        ({"step_size": -1.0}, "step_size -1 is out of range: dgn_am takes 0 to 100"),
        ({"seed": -3}, "seed -3 is out of range"),
    ],
)
def test_an_ascent_that_the_model_does_not_make_is_refused(models, changes, says):
    with pytest.raises(InvalidInputError, match=says):
        models.run(preferred(**changes))
    assert not models.requests


def test_numbers_that_are_none_are_seen(models):
    models.output = lambda model, name, given, rows, outputs: np.full((rows, 401), np.nan, np.float32)
    with pytest.raises(UnexpectedReplyError, match="not finite"):
        models.run(preferred())


@pytest.mark.parametrize("name", ["generate", "read_codes", "swap_style", "interpolate", "preferred_input"])
def test_both_clients_offer_the_same(name):
    ours, theirs = (inspect.signature(getattr(client, name)) for client in (Client, AsyncClient))
    assert ours == theirs
