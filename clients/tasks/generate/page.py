"""The tabs of the generators: codes become pictures, styles are swapped, and a unit's preferred input is sought.

What the sliders and lists offer is what the server says of its models.
"""

from __future__ import annotations

import io
import random
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from neurips16.clients.media.picture_grid import animated, enlarged, grid, read_picture
from neurips16.clients.page.parts import Dropped, Setup, Tab, animation, answer_text, answering, content, shown_picture
from neurips16.clients.tasks.generate.calls import (
    DECODER,
    DGN_AM,
    INFOGAN,
    SWAP,
    InputRange,
    PreferredInput,
    category_sizes,
    input_ranges,
    traversal,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from neurips16.clients.client import Client

IN_TURN = "each in turn"
SCALE = 4  # times as large as the model's pictures
COLUMNS = 10
PATH_STEPS = 8  # from one picture to another
ASCENT_STEPS = 200
NUDGE = 0.05  # of a code's range: a step of its slider


def draw(client: Client, sizes: list[int], seed: float, varied: int, first: str, *codes: float) -> tuple[Image, str]:
    """Pictures of latent codes.

    Args:
        client: asks the server.
        sizes: how many categories each categorical code has.
        seed: of the first picture.
        varied: the continuous code that goes through its range along each row; -1 draws a row of single pictures.
        first: the category of the first code, or `IN_TURN`.
        codes: the categories of the other codes, then the continuous codes.

    Returns:
        The pictures as one, and what they are.
    """
    others, continuous = [int(code) for code in codes[: len(sizes) - 1]], list(codes[max(0, len(sizes) - 1) :])
    rows: list[list[int]] = [[] if not sizes else [category, *others] for category in _categories(sizes, first)]
    if varied < 0:
        count = COLUMNS if len(rows) == 1 else len(rows)
        images = client.generate(
            category=np.array([rows[i % len(rows)] for i in range(count)]) if sizes else None,
            continuous=continuous or None,
            count=count,
            seed=int(seed),
        )
        what = f"{count} pictures, with seeds from {seed:.0f}."
    else:
        along = partial(traversal, INFOGAN, varied, continuous=continuous, steps=COLUMNS)
        made = [client.run(along(category=row or None, seed=int(seed) + i)) for i, row in enumerate(rows)]
        images = np.concatenate(made)
        what = f"Along each row code {varied} goes through its range."
    return enlarged(grid(images, COLUMNS), SCALE), what


def _categories(sizes: list[int], first: str) -> list[int]:
    if not sizes:
        return [0]
    return list(range(sizes[0])) if first == IN_TURN else [int(first)]


def swap(client: Client, halfway: bool, style: Dropped, other: Dropped) -> tuple[Image | None, Image | None, str]:
    """The class of one picture in the style of another.

    Args:
        client: asks the server.
        halfway: also go from one to the other; needs the model of the decoder.
        style: the file whose style is taken, None where there is none now.
        other: the file whose class is taken.

    Returns:
        The picture, the way from the one to the other, and a line.
    """
    if style is None or other is None:
        return None, None, ""
    shape = client.model_config(SWAP).inputs[0].dims
    pictures = [_fitted(content(one), shape) for one in (style, other)]
    swapped = enlarged(client.swap_style(*pictures)[0], 2 * SCALE)
    if not halfway:
        return swapped, None, "The class of the second in the style of the first."
    steps = client.interpolate(*pictures, steps=PATH_STEPS)
    path = enlarged(grid(steps.reshape(-1, *steps.shape[2:]), PATH_STEPS), SCALE // 2)
    return (
        swapped,
        path,
        "Below, the style changes from left to right, and the class from top to bottom.",
    )


def _fitted(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """A picture of any size as the model takes it, uint8 [H, W, C]."""
    from PIL import Image

    height, width, channels = shape
    picture = read_picture(data, channels)
    if picture.shape[:2] == (height, width):
        return picture
    image = Image.fromarray(picture[:, :, 0] if channels == 1 else picture)
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)).reshape(height, width, channels)


def two_pictures(client: Client, sizes: list[int], seeds: InputRange) -> tuple[Image, Image, str]:
    """Two pictures of different categories by the InfoGAN, with seeds of chance: something to swap."""
    categories = random.sample(range(sizes[0]), 2) if sizes else None  # nosec B311: of a picture
    codes = categories and np.array([[category, *[0] * (len(sizes) - 1)] for category in categories])
    seed = random.randint(int(seeds.low), int(seeds.high) - 1)  # nosec B311: of a picture
    first, second = client.generate(category=codes, count=2, seed=seed)
    return enlarged(first, 1), enlarged(second, 1), ""


def climb(client: Client, unit: int, steps: float, seed: float) -> tuple[str, Image, str]:
    """The input that a unit prefers, how it comes about, and how its activation rises on the way."""
    found = client.preferred_input(int(unit), steps=int(steps), seed=int(seed))
    moving = animated(list(found.frames), scale=2 * SCALE)
    line = (
        f"Unit {found.unit} answers {found.activations[-1]:.1f}, at the start {found.activations[0]:.1f}; to real "
        f"images of its class {found.real_activation:.1f} ± {found.real_std:.1f}."
    )
    return animation(moving, f"the preferred input of unit {found.unit}"), _curve(found), line


def _curve(found: PreferredInput) -> Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    low, high = found.real_activation - found.real_std, found.real_activation + found.real_std
    axes.axhspan(low, high, color="#d9e2e0", label="real images, mean ± deviation")
    axes.plot(found.activations, color="#0f766e", label="on the way")
    axes.set(xlabel="step", ylabel=f"activation of unit {found.unit}", xlim=(0, len(found.activations) - 1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    drawn = io.BytesIO()
    FigureCanvasAgg(figure).print_png(drawn)
    return Image.open(drawn)


def build_codes(setup: Setup) -> None:
    """Put the controls of the InfoGAN into the tab that is open."""
    import gradio as gr

    sizes = setup.client.run(category_sizes(INFOGAN))
    ranges = setup.client.run(input_ranges(INFOGAN))
    continuous = ranges.get("continuous", InputRange(0, 0.0, 0.0))
    with gr.Row(equal_height=False):
        with gr.Column(scale=2):
            first = gr.Dropdown([IN_TURN, *map(str, range(sizes[0] if sizes else 0))], value=IN_TURN, label="Category")
            others = [
                gr.Dropdown(list(range(size)), value=0, label=f"Category of code {place}")
                for place, size in enumerate(sizes[1:], start=1)
            ]
            sliders = [_slider(f"Continuous code {place}", continuous, 0.0) for place in range(continuous.length)]
            varied = gr.Dropdown(
                [("none", -1), *((f"code {place}", place) for place in range(continuous.length))],
                value=-1,
                label="Goes through its range along each row",
            )
            seed = _whole("Seed", ranges["seed"], 0)
            ask = gr.Button("Draw", variant="primary", elem_id="codes-draw")
        with gr.Column(scale=3):
            line = answer_text("codes-status")
            drawn = shown_picture("Pictures of the codes", elem_id="codes-drawn")
    answer = answering(partial(draw, setup.client, sizes), 1)
    inputs = [seed, varied, first, *others, *sliders]
    setup.at_once(answer, inputs, [drawn, line])
    gr.on(
        [ask.click, first.input, varied.input, *(one.input for one in others), *(one.release for one in sliders)],
        answer,
        inputs,
        [drawn, line],
        trigger_mode="always_last",
        api_visibility="private",
    )


def build_swap(setup: Setup) -> None:
    """Put the controls of the style swap into the tab that is open."""
    import gradio as gr

    halfway = DECODER in setup.loaded
    files = setup.example_files("*.png")
    with gr.Row(equal_height=False):
        with gr.Column(scale=2):
            with gr.Row():
                options: dict[str, Any] = {"type": "filepath", "sources": ["upload", "clipboard"], "buttons": []}
                dropped = partial(gr.Image, **options, format="png", height=200, elem_classes="pixels small")
                style = dropped(value=files[0], label="Style of this", elem_id="swap-style")
                other = dropped(value=files[1], label="Class of this", elem_id="swap-class")
            more = gr.Button("Two new pictures", elem_id="swap-new", visible=INFOGAN in setup.loaded)
            pairs = [[one, two] for one, two in zip(files[::2], files[1::2], strict=False)]
            gr.Examples(pairs, [style, other], label="Examples to click on")
        with gr.Column(scale=3):
            line = answer_text("swap-status")
            swapped = shown_picture(
                "The class of the second in the style of the first", height=240, elem_id="swap-drawn"
            )
            path = shown_picture("From one to the other", visible=halfway, elem_id="swap-path")
    answer = answering(partial(swap, setup.client, halfway), 2)
    setup.at_once(answer, [style, other], [swapped, path, line], preprocess=False)
    gr.on(
        [style.change, other.change],
        answer,
        [style, other],
        [swapped, path, line],
        preprocess=False,
        trigger_mode="always_last",
        api_visibility="private",
    )
    if INFOGAN in setup.loaded:
        sizes, ranges = setup.client.run(category_sizes(INFOGAN)), setup.client.run(input_ranges(INFOGAN))
        fill = answering(partial(two_pictures, setup.client, sizes, ranges["seed"]), 2)
        more.click(fill, [], [style, other, line], api_visibility="private")


def build_climb(setup: Setup) -> None:
    """Put the controls of the ascent into the tab that is open."""
    import gradio as gr

    ranges = setup.client.run(input_ranges(DGN_AM))
    units = [int(unit) for unit in range(int(ranges["unit"].low), int(ranges["unit"].high) + 1)]
    with gr.Row(equal_height=False):
        with gr.Column(scale=2):
            unit = gr.Dropdown(units, value=units[0], label="Unit")
            steps = _whole("Steps of the ascent", ranges["steps"], ASCENT_STEPS, slider=True)
            seed = _whole("Seed of the start", ranges["seed"], 0)
            ask = gr.Button("Climb", variant="primary", elem_id="climb-ask")
        with gr.Column(scale=3):
            line = answer_text("climb-status")
            moving = answer_text("climb-moving")
            curve = shown_picture("The activation on the way", buttons=[], elem_id="climb-curve")
    answer = answering(partial(climb, setup.client), 2)
    setup.at_once(answer, [unit, steps, seed], [moving, curve, line])
    gr.on(
        [ask.click, unit.input],
        answer,
        [unit, steps, seed],
        [moving, curve, line],
        trigger_mode="always_last",
        api_visibility="private",
    )


def _slider(label: str, permitted: InputRange, value: float) -> Any:
    import gradio as gr

    low, high = permitted.low, permitted.high
    return gr.Slider(low, high, min(max(low, value), high), step=NUDGE * (high - low), label=label)


def _whole(label: str, permitted: InputRange, value: int, *, slider: bool = False) -> Any:
    import gradio as gr

    low, high = int(permitted.low), int(permitted.high)
    value = min(max(low, value), high)
    if slider:
        return gr.Slider(low, high, value, step=1, label=label)
    return gr.Number(value, label=label, precision=0, minimum=low, maximum=high)


CODES = Tab(
    title="Digits from codes",
    about="An InfoGAN draws pictures of latent codes, whose meaning it found by itself: move one and see.",
    models=(INFOGAN,),
    build=build_codes,
)
SWAPPED = Tab(
    title="Style swap",
    about=(
        "Two pictures go in; the class of the second comes out in the style of the first. The model knows light digits "
        "on dark ground; pictures of other sizes are scaled to its own."
    ),
    models=(SWAP,),
    build=build_swap,
)
CLIMB = Tab(
    title="Preferred inputs",
    about="Which picture does a unit of a classifier like best? An ascent in the codes of a generator looks for it.",
    models=(DGN_AM,),
    build=build_climb,
)
