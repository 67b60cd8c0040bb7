"""Takes the pictures of the demo page for the docs: every tab whose models are there, with the examples that ship.

    python deploy/demo/screenshots.py [--repository serving/models] [--output clients/docs]

Needs a Chromium: Debian's package `chromium`, or what CHROMIUM names. Only inputs that are ours are shown.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from neurips16.serving import TritonServer

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
SIZE = {"width": 1180, "height": 860}
ANSWER_MS = 60_000


def main() -> None:
    """Serve, open the page, and take one picture of each tab."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, default=ROOT / "serving/models", help="the models to show")
    parser.add_argument("--output", type=Path, default=ROOT / "clients/docs", help="where the pictures go")
    options = parser.parse_args()
    with TritonServer(options.repository, grpc_port=0, http_port=None, metrics_port=None) as server:
        command = [str(Path(sys.executable).parent / "neurips16"), "demo", "--no-browser", "--port", "0"]
        with subprocess.Popen([*command, "--url", server.url], stdout=subprocess.PIPE, text=True) as page:
            try:
                said = page.stdout.readline() if page.stdout else ""
                take(said.split("the page is at ")[1].split(",")[0], options.output)
            finally:
                page.terminate()


def take(url: str, folder: Path) -> None:
    """Take the pictures of the page at ``url``; a tab without its model is left out, and named."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"))
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(url)
        for title, (name, act, answer) in TABS.items():
            page.get_by_role("tab", name=title).click()
            if page.locator("p.missing:visible").count():
                print(f"{title}: {page.locator('p.missing:visible').inner_text()}")  # noqa: T201
                continue
            act(page)
            page.locator(answer).wait_for(timeout=ANSWER_MS)
            page.wait_for_timeout(1500)  # pictures fade in
            taken = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
            taken.quantize(256).save(folder / f"page-{name}.png", optimize=True)
            print(folder / f"page-{name}.png")  # noqa: T201
        browser.close()


def drop(element: str, file: Path) -> Callable[[Page], None]:
    """Drop a file on a control."""
    return lambda page: page.locator(f"{element} input[type=file]").set_input_files(file)


def press(element: str) -> Callable[[Page], None]:
    """Click on something."""
    return lambda page: page.locator(element).click()


def swap(page: Page) -> None:
    """Drop two digits."""
    drop("#swap-style", HERE / "digits/1-three-bold.png")(page)
    drop("#swap-class", HERE / "digits/2-seven-slanted.png")(page)


def rank(page: Page) -> None:
    """Fill in the example, and ask."""
    for element, name in (("#premises-conjecture", "conjecture.p"), ("#premises-premises", "premises.p")):
        page.locator(f"{element} textarea").fill((HERE / name).read_text().strip())
    page.locator("#premises-rank").click()


# title: name of the picture, what is done, and what then is there
TABS: dict[str, tuple[str, Callable[[Page], None], str]] = {
    "Objects": ("objects", drop("#detect-picture", HERE / "cells.jpg"), "#detect-table table"),
    "Sounds": ("sounds", drop("#sound-input", HERE / "sounds/rain.ogg"), "#sound-timeline img"),
    "Premises": ("premises", rank, "#premises-table table"),
    "Digits from codes": ("codes", press("#codes-draw"), "#codes-drawn img"),
    "Style swap": ("swap", swap, "#swap-drawn img"),
    "Preferred inputs": ("climb", press("#climb-ask"), "#climb-curve img"),
}

if __name__ == "__main__":
    main()
