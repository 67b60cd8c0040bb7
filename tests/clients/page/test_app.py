"""The demo page in a browser, against a real Triton with the models that ship."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[3]
TASKS, MODELS = ROOT / "clients/tasks", ROOT / "serving/models"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or ""
PACKAGES = {"pytriton": "serving", "gradio": "page", "playwright": "dev"}
ABSENT = [extra for name, extra in PACKAGES.items() if importlib.util.find_spec(name) is None]
ANSWER_MS = 30_000
# The page's process tells whom it calls: Python reports each connection, and each name that is looked up.
WATCHED = """
import sys
def tell(event, arguments):
    if event == "socket.connect":
        print("connects to", arguments[1], file=sys.stderr)
    elif event == "socket.getaddrinfo":
        print("asks for", arguments[0], file=sys.stderr)
sys.addaudithook(tell)
from neurips16.clients.command import main
main()
"""
pytestmark = [
    pytest.mark.triton,
    pytest.mark.slow,
    pytest.mark.skipif(bool(ABSENT), reason=f"needs the extras {', '.join(ABSENT)}"),
    pytest.mark.skipif(not CHROMIUM, reason="needs a Chromium: Debian's package chromium, or what CHROMIUM names"),
    pytest.mark.skipif(not (MODELS / "rfcn").is_dir(), reason=f"needs the detector in {MODELS}"),
]


@pytest.fixture(scope="module")
def server():
    from neurips16.serving.triton.server import TritonServer

    with TritonServer(MODELS, grpc_port=0, http_port=None, metrics_port=None) as server:
        yield server


@pytest.fixture(scope="module")
def page_url(server, tmp_path_factory):
    """`neurips16 demo`, started as a user would; at its end it is seen to have called nobody else."""
    said = tmp_path_factory.mktemp("page") / "stderr"
    command = [sys.executable, "-c", WATCHED, "demo", "--port", "0", "--no-browser", "--url", server.url]
    with (
        said.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=said.parent) as page,
    ):
        line = page.stdout.readline()
        match = re.match(r"the page is at (http://127\.0\.0\.1:\d+), the models are at ", line)
        assert match, line + said.read_text()
        yield match[1]
        page.send_signal(signal.SIGTERM)
        assert page.wait(20) == 0
    called = said.read_text().splitlines()
    assert [line for line in called if not re.match(r"(connects to|asks for) .*(127\.0\.0\.1|localhost)", line)] == []


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, page_url):
    """The page, freshly opened; all that the browser asks for comes from it, and nothing goes wrong in it."""
    asked, broken = [], []
    page = browser.new_page()
    page.set_default_timeout(ANSWER_MS)
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.goto(page_url)
    yield page
    page.close()
    assert len(asked) > 10
    hosts = {urlsplit(url).netloc for url in asked if urlsplit(url).scheme not in ("data", "blob")}
    assert hosts == {urlsplit(page_url).netloc}
    assert broken == []


def open_tab(page, title):
    """By the navigation, which every tab has."""
    if urlsplit(page.url).path in ("", "/"):
        page.goto(f"{page.url.rstrip('/')}/detect")
    page.locator("nav").get_by_role("link", name=title, exact=True).click()
    page.get_by_role("heading", name=title, exact=True, level=1).wait_for()


def clear_picture(page):
    """Away with the example that the tab begins with."""
    page.locator("#detect-table tbody tr").first.wait_for()
    page.locator("#detect-picture").get_by_label("Remove Image").click()
    page.locator("#detect-table tbody tr").first.wait_for(state="detached")


def test_a_picture_is_dropped_and_its_cells_are_named(page):
    open_tab(page, "Objects")
    clear_picture(page)
    page.locator("#detect-picture input[type=file]").set_input_files(TASKS / "detect/examples/cells.jpg")
    rows = page.locator("#detect-table tbody tr")
    rows.first.wait_for()
    found = [row.split("\t") for row in rows.all_inner_texts()]
    assert {"RBC", "WBC"} <= {label.strip() for label, *_ in found}
    assert all(50 <= float(sure.strip().rstrip("%")) <= 100 for _, sure, _ in found)
    assert page.locator("#detect-status").inner_text().startswith(f"{len(found)} found: ")
    drawn = page.locator("#detect-drawn img")
    drawn.wait_for()
    assert drawn.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [640, 480]


def test_a_file_that_is_no_picture_gets_one_line(page, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("This is a text.\n")
    open_tab(page, "Objects")
    clear_picture(page)
    page.locator("#detect-picture input[type=file]").set_input_files(bad)
    refused = page.locator("#detect-status [role=alert]")
    refused.wait_for()
    assert refused.inner_text() == "the image is no image of a known format"
    assert page.locator("#detect-table tr").count() == 0


def test_an_example_of_premises_is_clicked_and_ranked(page, server):
    from neurips16.clients import Client

    open_tab(page, "Premises")
    page.locator("#premises-conjecture textarea").fill("")
    page.get_by_role("button", name="Sets", exact=True).click()
    conjecture = page.locator("#premises-conjecture textarea")
    page.wait_for_function("box => box.value.length > 0", arg=conjecture.element_handle())
    page.locator("#premises-rank").click()
    rows = page.locator("#premises-table tbody tr")
    rows.first.wait_for()
    shown = [[cell.strip() for cell in row.split("\t")] for row in rows.all_inner_texts()]
    goal, premises = ((TASKS / "rank_premises/examples" / name).read_text() for name in ("conjecture.p", "premises.p"))
    with Client(server.url) as client:
        ranking = client.rank_premises(goal, premises.splitlines())
    assert [row[2] for row in shown] == [one.text for one in ranking]
    assert [row[0] for row in shown] == [str(one.rank) for one in ranking]


def test_a_task_without_its_model_names_it(page, server):
    missing = {"Sounds": "sound_classifier", "Digits from codes": "infogan", "Preferred inputs": "dgn_am"}
    for title, model in missing.items():
        open_tab(page, title)
        sentence = page.locator("p.missing:visible")
        if model in server.models:
            assert sentence.count() == 0
        else:
            assert f"has not loaded {model}, which this needs" in sentence.inner_text()


def test_every_tab_has_an_address_and_an_answer_before_the_first_click(page, page_url, server):
    page.locator(".overview a").first.wait_for()
    shown = page.locator(".overview a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert {"detect", "classify-sound", "rank-premises", "embed", "codes", "style-swap"} <= set(shown)
    for address in shown:
        page.goto(f"{page_url}/{address}")
        page.locator("p.status, p.missing").first.wait_for()
        assert page.locator("[role=alert]").count() == 0, address


def test_it_fits_on_a_phone(browser, page_url):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    for address in ("", "detect", "rank-premises"):
        page.goto(f"{page_url}/{address}")
        page.locator("h1").first.wait_for()
        page.wait_for_timeout(1000)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, address
    page.close()
