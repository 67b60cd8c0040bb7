"""The demo page without a browser: what the functions behind its controls answer, and what the command refuses."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import re
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from neurips16.clients import Client
from neurips16.clients.page.parts import Setup, animation, answering, refusal, table
from neurips16.clients.protocol.connection import Retry
from neurips16.clients.protocol.errors import InvalidImageError, InvalidInputError
from neurips16.clients.protocol.messages import ModelStatus
from neurips16.clients.tasks.classify_sound.page import listen
from neurips16.clients.tasks.detect.page import find
from neurips16.clients.tasks.generate import page as page_generation
from neurips16.clients.tasks.generate.calls import InputRange
from neurips16.clients.tasks.rank_premises.page import TAB as PREMISES
from neurips16.clients.tasks.rank_premises.page import rank

from ..tasks.generate.test_calls import SIDE, Models

needs_page = pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs the page extra")


@pytest.fixture
def client(scoring_server):
    """Of tiny models of the three tasks that look, listen and rank."""
    with Client(scoring_server.url) as client:
        yield client


@pytest.fixture
def models():
    return Models()


@pytest.fixture
def artist(models):
    """A client of small generators that answer by hand."""
    with Client("localhost:1") as client:
        client.run = models.run
        yield client


@pytest.fixture
def dropped(tmp_path, monkeypatch):
    """A function that makes a file, as Gradio hands it over."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))

    def drop(name, data):
        (tmp_path / name).write_bytes(data)
        return {"path": str(tmp_path / name), "url": "http://127.0.0.1:1/file", "orig_name": name}

    return drop


def png(pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def loaded(*names):
    return [ModelStatus(name, "1", ready=True, reason="") for name in names]


def built(client):
    """The page, made within an event loop: outside of one, Gradio makes its own and leaves them open."""

    async def build():
        from neurips16.clients.page.app import build_page

        return build_page(client)

    return asyncio.run(build())


def cells(html: str) -> list[list[str]]:
    """The text in a table's cells, row by row."""
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    return [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]


def test_a_picture_is_drawn_on_and_counted(client, dropped):
    pixels = np.full((40, 60, 3), (230, 153, 0), np.uint8)
    drawn, found, line = find(client, dropped("a.png", png(pixels)), 0.5)
    assert drawn.size == (60, 40)
    assert not np.array_equal(np.asarray(drawn), pixels)
    assert cells(found)[1:] == [["red", "90.2%", "0, 0, 60, 40"], ["green", "60.0%", "0, 0, 60, 40"]]
    assert line == "2 found: 1 red, 1 green."
    drawn, found, line = find(client, dropped("a.png", png(pixels)), 0.95)
    assert (found, line) == ("", "Nothing with a score of at least 95%.")
    assert np.array_equal(np.asarray(drawn), pixels)
    assert find(client, None, 0.5) == (None, "", "")


def test_a_file_that_is_no_picture_is_refused_in_one_line(client, dropped):
    text = dropped("bad.png", b"no picture\n")
    with pytest.raises(InvalidImageError):
        find(client, text, 0.5)
    *nothing, line = answering(lambda *given: find(client, *given), 2)(text, 0.5)
    assert nothing == [None, None]
    assert "no image of a known format" in line
    assert 'role="alert"' in line
    assert "/" not in re.sub(r"</?p[^>]*>", "", line)  # nor says where the file lay


def test_a_sound_is_named_and_shown_over_time(client, dropped):
    file = io.BytesIO()
    soundfile.write(file, np.repeat([0.1, 0.9], 8_000), 8_000, format="WAV")
    classes, timeline, line = listen(client, dropped("a.wav", file.getvalue()))
    assert [row[0] for row in cells(classes)[1:]] == ["red", "green", "blue"]
    assert line == "Most likely red, in 2.0 s of sound."
    assert min(timeline.size) > 100
    assert listen(client, None) == ("", None, "")
    *_, line = answering(lambda sound: listen(client, sound), 2)(dropped("b.wav", b"hello"))
    assert "cannot be read as audio" in line


def test_premises_are_ranked_as_the_client_ranks_them(client):
    lines = ["% a comment", "p(a)", "", "fof(second, axiom, q(b) & p(b))."]
    ranked, line = rank(client, "p(c)", "\n".join(lines))
    wanted = client.rank_premises("p(c)", [lines[1], lines[3]])
    assert [row[2] for row in cells(ranked)[1:]] == [one.text.replace("&", "&amp;") for one in wanted]
    assert [row[1] for row in cells(ranked)[1:]] == [f"{one.score:.2f}" for one in wanted]
    assert line == "2 premises, the one that looks most useful first."
    _, line = rank(client, "p(c)", f"p(a)\np({'a' * 200})")
    assert line.endswith("1 longer than the 128 characters that the model reads: cut off.")
    with pytest.raises(InvalidInputError, match="line 2 of the list of premises, column 1: the character"):
        rank(client, "p(c)", "p(a)\né")
    with pytest.raises(InvalidInputError, match="no premises: the list of premises holds no statement"):
        rank(client, "p(c)", "\n% nothing")
    with pytest.raises(InvalidInputError, match="the conjecture is empty"):
        rank(client, " ", "p(a)")


def test_a_server_that_is_gone_is_one_line():
    with Client("localhost:1", retry=Retry(attempts=1)) as client:
        nothing, line = answering(lambda *given: rank(client, *given), 1)("p(a)", "p(b)")
    assert nothing is None
    assert "no server answers at localhost:1" in line
    assert "\n" not in line


def test_codes_become_a_row_of_pictures(artist, models):
    drawn, line = page_generation.draw(artist, [10], 7, -1, page_generation.IN_TURN, 0.5, -1)
    assert models.sent("category")[:, 0].tolist() == list(range(10))
    assert models.sent("seed")[:, 0].tolist() == list(range(7, 17))
    assert models.sent("continuous").tolist() == [[0.5, -1]] * 10
    assert drawn.width > 10 * SIDE * page_generation.SCALE
    assert line == "10 pictures, with seeds from 7."
    models.requests.clear()
    page_generation.draw(artist, [10], 7, -1, "3", 0.5, -1)
    assert models.sent("category")[:, 0].tolist() == [3] * 10


def test_a_code_goes_through_its_range(artist, models):
    drawn, line = page_generation.draw(artist, [10], 7, 1, "3", 0.5, -1)
    sent = models.sent("continuous")
    np.testing.assert_allclose(sent[:, 1], np.linspace(-2, 2, 10), atol=1e-6)
    assert (sent[:, 0] == 0.5).all()
    assert models.sent("category")[:, 0].tolist() == [3] * 10
    one = drawn.height
    models.requests.clear()
    drawn, line = page_generation.draw(artist, [10], 7, 0, page_generation.IN_TURN, 0.5, -1)
    assert models.sent("category")[::10, 0].tolist() == list(range(10))
    assert drawn.height > 5 * one
    assert line == "Along each row code 0 goes through its range."
    *_, line = answering(lambda *given: page_generation.draw(artist, [10], *given), 1)(7, -1, "3", 0.5, 9)
    assert "continuous 9 is out of range: infogan takes -2 to 2" in line


def test_pictures_of_any_size_are_swapped(artist, models, dropped):
    right = np.full((SIDE, SIDE), 7, np.uint8)
    large = np.full((50, 40, 3), 9, np.uint8)
    given = dropped("right.png", png(right)), dropped("large.png", png(large))
    swapped, path, _ = page_generation.swap(artist, False, *given)
    assert path is None
    assert swapped.size == (2 * page_generation.SCALE * SIDE,) * 2
    ((_, sent),) = models.requests
    assert (sent["style_image"] == 7).all()
    assert (sent["class_image"] == 9).all()
    _, path, line = page_generation.swap(artist, True, *given)
    assert min(path.size) > page_generation.PATH_STEPS * SIDE
    assert "from left to right" in line
    assert page_generation.swap(artist, True, given[0], None) == (None, None, "")


def test_two_pictures_of_different_categories(artist, models):
    first, second, line = page_generation.two_pictures(artist, [10], InputRange(1, 0, 99))
    assert first.size == second.size == (SIDE, SIDE)
    one, two = models.sent("category")[:, 0]
    assert one != two
    assert line == ""


def test_a_preferred_input_moves_and_has_a_curve(artist, models):
    moving, curve, line = page_generation.climb(artist, 4, 20, 3)
    assert moving.startswith('<img class="pixels" alt="the preferred input of unit 4" src="data:image/gif;base64,')
    assert min(curve.size) > 100
    assert line == "Unit 4 answers 24.0, at the start 4.0; to real images of its class 0.4 ± 0.2."
    assert (models.sent("steps") == 20).all()
    assert (models.sent("seed") == 3).all()


def test_what_comes_from_elsewhere_is_no_html():
    assert cells(table(("<a>",), [("<b>&",)])) == [["&lt;a&gt;"], ["&lt;b&gt;&amp;"]]
    assert "<script" not in refusal("<script>\n  x") + animation(b"", '"><script>')
    assert "&lt;script&gt; x" in refusal("<script>\n  x")
    assert 'style="width: 100.0%"' in table(("a",), [(1.5,)])


@needs_page
def test_the_controls_offer_what_the_server_takes(artist, models, monkeypatch):
    models.changes = {"infogan": {"continuous_range": "-3 3"}, "dgn_am": {"unit_range": "2 5", "steps_range": "1 150"}}
    names = [*models.configs, "rfcn", "sound_classifier", "premise_encoder", "premise_ranker"]
    monkeypatch.setattr(artist, "models", lambda: loaded(*names))
    page = built(artist)
    shown = [(block.__class__.__name__, getattr(block, "label", None), block) for block in page.blocks.values()]
    sliders = {label: (one.minimum, one.maximum, one.value) for kind, label, one in shown if kind == "Slider"}
    assert sliders["Continuous code 0"] == sliders["Continuous code 1"] == (-3, 3, 0)
    assert sliders["Steps of the ascent"] == (1, 150, 150)
    (units,) = [one.choices for kind, label, one in shown if label == "Unit"]
    assert [value for _, value in units] == [2, 3, 4, 5]
    assert [title for _, title, _ in page.pages[1:]] == [
        "Novelty",
        "Play",
        "Image classes",
        "Objects",
        "Statement vectors",
        "Premises",
        "Digits from codes",
        "Style swap",
        "Preferred inputs",
        "Sounds",
    ]
    first = {block.page for block in page.blocks.values() if isinstance(block, (type(shown[0][2]),))}
    assert len(first) == len(page.pages)
    missing = [text for *_, one in shown if "has not loaded" in (text := str(getattr(one, "value", "")))]
    assert all("simhash" in text or "hdqn_meta" in text for text in missing)  # which this server has not
    assert len([one for kind, _, one in shown if kind == "Dataset"]) == 4


@needs_page
def test_a_task_without_its_model_says_so(artist, models, monkeypatch):
    present = [*loaded("rfcn"), ModelStatus("infogan", "1", ready=False, reason="unloaded")]
    monkeypatch.setattr(artist, "models", lambda: present)
    said = [str(getattr(block, "value", "")) for block in built(artist).blocks.values()]
    assert sum("has not loaded" in text for text in said) == 8
    assert any("localhost:1 has not loaded infogan, which this needs" in text for text in said)
    both = PREMISES.missing(Setup(artist, frozenset({"premise_ranker"}), Path(), None))
    assert "has not loaded premise_encoder, which this needs: serve a repository" in both


@needs_page
def test_a_model_that_is_not_ours_leaves_the_other_tasks(artist, models, monkeypatch):
    models.changes = {"dgn_am": {"steps_range": "many"}}
    monkeypatch.setattr(artist, "models", lambda: loaded(*models.configs))
    said = [str(getattr(block, "value", "")) for block in built(artist).blocks.values()]
    assert sum("which is no list of numbers" in text for text in said) == 1


@needs_page
def test_what_the_command_refuses(run_command):
    status, out, err = run_command("demo", "--host", "0.0.0.0", "--no-browser")
    assert (status, out) == (2, "")
    assert "others reach 0.0.0.0" in err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, err = run_command("demo", "--port", port, "--no-browser", "--url", "localhost:1")
    assert status == 2
    assert f"port {port} on 127.0.0.1 cannot be had for the page" in err
    assert len(err.splitlines()) == 1


@needs_page
def test_without_a_server_there_is_no_page(run_command):
    status, out, err = run_command("demo", "--port", 0, "--no-browser", "--url", "localhost:1")
    assert (status, out) == (1, "")
    assert err.startswith("error: no server answers at localhost:1")


def test_without_the_extra_the_command_names_it(run_command, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    status, out, err = run_command("demo", "--no-browser")
    assert (status, out) == (2, "")
    assert err == "error: `neurips16 demo` needs 'gradio': pip install 'neurips16[page]'\n"
