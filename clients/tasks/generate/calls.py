"""Generators without IO: what is asked of infogan, disentangle and dgn_am, and what is made of their answers.

What is permitted (categories, lengths of codes, numbers of steps, sizes of images) is what the server says of its
models. Row i of a request has the seed ``seed + i``, so each picture of a grid can be made again alone; the noise is
made of the seed within the model, by integer arithmetic, and so is the same on any server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import InvalidInputError, UnexpectedReplyError
from neurips16.clients.protocol.messages import ModelConfig
from neurips16.clients.protocol.operation import Operation

INFOGAN, INFOGAN_ENCODER = "infogan", "infogan_encoder"
SWAP, DECODER = "disentangle", "disentangle_decoder"
DGN_AM = "dgn_am"


@dataclass(frozen=True)
class ImageCodes:
    """What an InfoGAN's recogniser reads from images."""

    probabilities: tuple[np.ndarray, ...]  # float32 [N, size] for each categorical code
    continuous: np.ndarray  # float32 [N, M]

    @property
    def categories(self) -> np.ndarray:
        """The most probable category of each code, int64 [N, K]."""
        return np.stack([p.argmax(1) for p in self.probabilities], 1) if self.probabilities else np.empty((0, 0), int)


@dataclass(frozen=True)
class PreferredInput:
    """The image that a unit prefers, and the way there."""

    unit: int
    seed: int
    image: np.ndarray  # uint8 [H, W, C]
    frames: np.ndarray  # uint8 [F, H, W, C], evenly spaced; the last is the image
    activations: np.ndarray  # float32 [steps + 1]: before the first step, then after each
    real_activation: float  # mean over real images of the unit's class
    real_std: float


@dataclass(frozen=True)
class InputRange:
    """What a generator takes as one of its inputs."""

    length: int  # how many numbers
    low: float
    high: float


def input_ranges(model: str) -> Operation[dict[str, InputRange]]:
    """What a server's generator takes, by the name of the input; inputs without a range, such as images, are left out.

    Raises:
        UnexpectedReplyError: a range is none.
    """
    config = yield from _config(model)
    limited = {name: dims for name, dims in _dims(config).items() if f"{name}_range" in config.parameters}
    return {name: InputRange(dims[0], *_range(config, name)) for name, dims in limited.items()}


def category_sizes(model: str) -> Operation[list[int]]:
    """How many categories each categorical code of a server's InfoGAN has."""
    return _sizes((yield from _config(model)))


def generate(
    model: str = INFOGAN,
    *,
    category: int | Sequence[int] | np.ndarray | None = None,
    continuous: Sequence[float] | np.ndarray | None = None,
    count: int | None = None,
    seed: int = 0,
) -> Operation[np.ndarray]:
    """Images uint8 [count, H, W, C] of latent codes; the same seed gives the same images on any server.

    Args:
        model: an InfoGAN's name on the server.
        category: of each categorical code, for all images; or int [count, K], for each image its own; None takes the
            categories of the first code in turn.
        continuous: the continuous codes, for all images; or float [count, M]; None is zeros.
        count: how many images; None is 1, or as many as codes are given for.
        seed: image i has the seed ``seed + i``.

    Raises:
        InvalidInputError: a code, the count or the seed is not what the model takes; the text says what it takes.
    """
    config = yield from _config(model)
    sizes = _sizes(config)
    rows = _rows(count, category, continuous)
    inputs: dict[str, np.ndarray] = {}
    if "category" in _dims(config):
        inputs["category"] = _codes(config, "category", _categories(category, rows, sizes), rows, np.int64)
        for place, size in enumerate(sizes):  # a code may have fewer categories than the largest, whose range it is
            _check_range(model, "category", inputs["category"][:, place], (0, size - 1))
    elif category is not None:
        raise InvalidInputError(f"{model} has no categorical code: leave category out")
    if "continuous" in _dims(config):
        zeros = np.zeros(_dims(config)["continuous"], np.float32)
        inputs["continuous"] = _codes(
            config, "continuous", zeros if continuous is None else continuous, rows, np.float32
        )
    elif continuous is not None:
        raise InvalidInputError(f"{model} has no continuous code: leave continuous out")
    inputs["seed"] = _codes(config, "seed", (_whole("seed", seed) + np.arange(rows))[:, None], rows, np.int64)
    return (yield from _infer(config, inputs, "image"))


def traversal(
    model: str,
    code: int,
    *,
    category: Sequence[int] | None,
    continuous: Sequence[float] | None,
    steps: int,
    seed: int,
) -> Operation[np.ndarray]:
    """Rows of ``steps`` images along which one continuous code grows through its range, uint8 [rows · steps, H, W, C].

    Args:
        model: the name on the server.
        code: which continuous code.
        category: the only row's categories; None makes a row of each category of the first code.
        continuous: the codes that stay; zeros, if None.
        steps: images of a row.
        seed: of the first row; row i has this plus i, and the same noise all along.
    """
    config = yield from _config(model)
    (length,) = _dims(config).get("continuous", (0,))
    if not 0 <= _whole("code", code) < length:
        raise InvalidInputError(f"continuous code {code} is out of range: {model} takes 0 to {length - 1}")
    sizes = _sizes(config)
    rows = sizes[0] if category is None and sizes else 1
    kept = np.zeros(length, np.float32) if continuous is None else continuous
    varied = _codes(config, "continuous", kept, rows * steps, np.float32)
    low, high = _range(config, "continuous")
    varied[:, code] = np.tile(np.linspace(low, high, steps), rows)
    inputs = {"continuous": varied}
    if sizes:
        inputs["category"] = _codes(config, "category", _categories(category, rows, sizes), rows, np.int64)
    inputs["seed"] = _codes(config, "seed", (_whole("seed", seed) + np.arange(rows))[:, None], rows, np.int64)
    inputs |= {name: np.repeat(inputs[name], steps, 0) for name in ("category", "seed") if name in inputs}
    return (yield from _infer(config, inputs, "image"))


def read_codes(images: Any, *, model: str = INFOGAN_ENCODER) -> Operation[ImageCodes]:
    """The latent codes that an InfoGAN's recogniser reads from images uint8 [N, H, W, C], or from one image."""
    config = yield from _config(model)
    outputs = [tensor.name for tensor in config.outputs]
    sizes = _sizes(config)
    batch = _images(config, "image", images)
    answer = yield from _infer_all(config, {"image": batch}, outputs)
    ends = np.cumsum(sizes)
    probabilities = np.split(answer["category_probabilities"], ends[:-1], axis=1) if sizes else []
    return ImageCodes(tuple(probabilities), answer.get("continuous", np.empty((len(batch), 0), np.float32)))


def swap_style(style: Any, content: Any) -> Operation[np.ndarray]:
    """Images uint8 [N, H, W, C] of the class of ``content`` in the style of ``style``.

    Args:
        style: one image uint8 [H, W, C], or several; [H, W] will do for grey.
        content: likewise; one image goes with each of several others.
    """
    config = yield from _config(SWAP)
    inputs = _paired(
        {"style_image": _images(config, "style_image", style), "class_image": _images(config, "class_image", content)}
    )
    return (yield from _infer(config, inputs, "image"))


def swap_grid(styles: Sequence[Any], contents: Sequence[Any]) -> Operation[np.ndarray]:
    """Each of C images in the style of each of S others, uint8 [S, C, H, W, C']."""
    config = yield from _config(SWAP)
    rows = np.concatenate([_images(config, "style_image", image) for image in styles])
    columns = np.concatenate([_images(config, "class_image", image) for image in contents])
    inputs = {"style_image": np.repeat(rows, len(columns), 0), "class_image": np.tile(columns, (len(rows), 1, 1, 1))}
    images = yield from _infer(config, inputs, "image")
    return images.reshape(len(rows), len(columns), *images.shape[1:])


def interpolate(first: Any, second: Any, *, steps: int = 8) -> Operation[np.ndarray]:
    """From one image to another, uint8 [steps, steps, H, W, C]: the class along axis 0, the style along axis 1."""
    if _whole("steps", steps) < 2:
        raise InvalidInputError(f"an interpolation has at least 2 steps, its two ends; got {steps}")
    config = yield from _config(SWAP)
    decoder = yield from _config(DECODER)
    ends = np.concatenate([_images(config, "style_image", image)[:1] for image in (first, second)])
    parts = yield from _infer_all(config, {"style_image": ends, "class_image": ends}, ["specified", "unspecified"])
    share = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    specified, unspecified = (
        parts[name][0] * (1 - share) + parts[name][1] * share for name in ("specified", "unspecified")
    )
    inputs = {"specified": np.repeat(specified, steps, 0), "unspecified": np.tile(unspecified, (steps, 1))}
    images = yield from _infer(decoder, inputs, "image")
    return images.reshape(steps, steps, *images.shape[1:])


def preferred_input(
    unit: int, *, steps: int = 200, seed: int = 0, step_size: float | None = None, model: str = DGN_AM
) -> Operation[PreferredInput]:
    """The image that a unit of the server's classifier prefers, by ascent in the code space of a generator.

    Args:
        unit: a class.
        steps: of the ascent.
        seed: of the code that it starts from.
        step_size: of the first step; None takes the model's own.
        model: its name on the server.
    """
    (found,) = yield from preferred_inputs([unit], steps=steps, seed=seed, step_size=step_size, model=model)
    return found


def preferred_inputs(
    units: Sequence[int], *, steps: int, seed: int, step_size: float | None, model: str = DGN_AM
) -> Operation[list[PreferredInput]]:
    """The images that several units prefer; see `preferred_input`.

    Raises:
        InvalidInputError: a unit, the number of steps, their size or the seed is not what the model takes.
    """
    if not len(units):
        raise InvalidInputError("no unit: name one at least")
    config = yield from _config(model)
    rows = len(units)
    length = _numbers(config, "step_size")[0] if step_size is None else step_size
    inputs = {
        "unit": _codes(config, "unit", np.array([[_whole("unit", unit)] for unit in units]), rows, np.int64),
        "steps": _codes(config, "steps", np.full((rows, 1), _whole("steps", steps)), rows, np.int64),
        "step_size": _codes(config, "step_size", np.full((rows, 1), length), rows, np.float32),
        "seed": _codes(config, "seed", np.full((rows, 1), _whole("seed", seed)), rows, np.int64),
    }
    answer = yield from _infer_all(config, inputs, ["image", "frames", "activations"])
    real, deviations = _numbers(config, "real_activations"), _numbers(config, "real_deviations")
    return [
        PreferredInput(
            int(unit),
            seed,
            answer["image"][row],
            answer["frames"][row],
            answer["activations"][row, : steps + 1],
            real[unit],
            deviations[unit],
        )
        for row, unit in enumerate(units)
    ]


def all_units(model: str = DGN_AM) -> Operation[list[int]]:
    """Every unit that a server's model knows."""
    config = yield from _config(model)
    low, high = _range(config, "unit")
    return list(range(int(low), int(high) + 1))


def _config(model: str) -> Operation[ModelConfig]:
    (config,) = yield [messages.model_config(model)]
    return config


def _infer(config: ModelConfig, inputs: Mapping[str, np.ndarray], output: str) -> Operation[np.ndarray]:
    return (yield from _infer_all(config, inputs, [output]))[output]


def _infer_all(
    config: ModelConfig, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]
) -> Operation[dict[str, np.ndarray]]:
    """Rows of any number, in requests of as many as the model takes at a time."""
    rows, size = len(next(iter(inputs.values()))), max(1, config.max_batch_size)
    answers = yield (
        messages.infer(config.name, {k: v[start : start + size] for k, v in inputs.items()}, outputs=outputs)
        for start in range(0, rows, size)
    )
    whole = {}
    for name in outputs:
        if any(name not in answer for answer in answers):
            raise UnexpectedReplyError(f"model {config.name!r} did not answer with {name!r}")
        whole[name] = np.concatenate([answer[name] for answer in answers])
        if len(whole[name]) != rows:
            raise UnexpectedReplyError(f"model {config.name!r} answered {len(whole[name])} rows to {rows}")
        if whole[name].dtype.kind == "f" and not np.isfinite(whole[name]).all():
            raise UnexpectedReplyError(f"model {config.name!r} answered {name!r} with numbers that are not finite")
    return whole


def _rows(count: int | None, *codes: Any) -> int:
    """How many images: as asked, or as many as a code that is given for each, or one."""
    given = {len(code) for code in codes if np.ndim(code) == 2}
    if count is not None and _whole("count", count) < 1:
        raise InvalidInputError(f"count is at least 1, got {count}")
    if len(given | ({count} if count is not None else set())) > 1:
        raise InvalidInputError(f"codes are given for {' and '.join(map(str, sorted(given)))} images, count is {count}")
    return given.pop() if given else count or 1


def _categories(category: Any, rows: int, sizes: Sequence[int]) -> np.ndarray:
    """The categories asked for; where none is, those of the first code in turn."""
    if category is None:
        chosen = np.zeros((rows, len(sizes)), np.int64)
        chosen[:, 0] = np.arange(rows) % sizes[0]
        return chosen
    return np.atleast_1d(category)


def _codes(config: ModelConfig, name: str, values: Any, rows: int, dtype: Any) -> np.ndarray:
    """One input [rows, length] of numbers, seen to be what the model takes."""
    array = np.asarray(values)
    if array.dtype.kind not in "iuf" or (array.dtype.kind == "f" and np.issubdtype(dtype, np.integer)):
        raise InvalidInputError(f"{name} is {array.dtype}, {config.name} takes {np.dtype(dtype).name}")
    (length,) = _dims(config)[name]
    if array.ndim > 2 or array.shape[-1:] != (length,):
        found = array.shape[-1] if array.ndim else 1
        raise InvalidInputError(f"{name} has {found} numbers, {config.name} takes {length}")
    _check_range(config.name, name, array, _range(config, name))
    return np.array(np.broadcast_to(array, (rows, length)), dtype)


def _check_range(model: str, name: str, values: np.ndarray, permitted: tuple[float, float]) -> None:
    low, high = permitted
    wrong = values[~((values >= low) & (values <= high))]  # so written that a NaN is wrong
    if wrong.size:
        raise InvalidInputError(f"{name} {wrong.flat[0]:g} is out of range: {model} takes {low:.10g} to {high:.10g}")


def _images(config: ModelConfig, name: str, images: Any) -> np.ndarray:
    """Images uint8 [N, H, W, C] from one image or several, with or without an axis for grey."""
    array = np.asarray(images)
    height, width, channels = _dims(config)[name]
    wanted = f"{config.name} takes {height} by {width} pixels with {channels} channel{'s' * (channels > 1)}, as uint8"
    if array.dtype != np.uint8:
        raise InvalidInputError(f"{name} is {array.dtype}: {wanted}")
    if channels == 1 and array.ndim >= 2 and array.shape[-2:] == (height, width):
        array = array[..., None]
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.shape[1:] != (height, width, channels) or not len(array):
        raise InvalidInputError(f"{name} has shape {list(np.shape(images))}: {wanted}")
    return array


def _paired(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs of as many rows; one row goes with each of the others'."""
    counts = {len(value) for value in inputs.values()} - {1}
    if len(counts) > 1:
        said = " and ".join(f"{len(value)} of {name}" for name, value in inputs.items())
        raise InvalidInputError(f"{said}: give as many of each, or one of one of them")
    rows = counts.pop() if counts else 1
    return {name: np.broadcast_to(value, (rows, *value.shape[1:])) for name, value in inputs.items()}


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidInputError(f"{name} is a whole number, got {value!r}")
    return int(value)


def _sizes(config: ModelConfig) -> list[int]:
    return [int(size) for size in _parameter(config, "categories").split()]


def _dims(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.dims for tensor in config.inputs}


def _parameter(config: ModelConfig, name: str) -> str:
    if name not in config.parameters:
        raise UnexpectedReplyError(
            f"model {config.name!r} has no parameter {name!r} in its configuration: it is not one that "
            f"`neurips16 export` wrote"
        )
    return config.parameters[name]


def _numbers(config: ModelConfig, name: str) -> list[float]:
    try:
        return [float(word) for word in _parameter(config, name).split()]
    except ValueError as error:
        text = config.parameters[name]
        raise UnexpectedReplyError(f"model {config.name!r} has {name} {text!r}, which is no list of numbers") from error


def _range(config: ModelConfig, name: str) -> tuple[float, float]:
    """The least and the largest permitted value of an input."""
    numbers = _numbers(config, f"{name}_range")
    if len(numbers) != 2:
        raise UnexpectedReplyError(f"model {config.name!r} has {name}_range {numbers}, which is no range")
    return numbers[0], numbers[1]
