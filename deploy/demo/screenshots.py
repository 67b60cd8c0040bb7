"""Takes the pictures of the page for the documentation: every tab whose models are there, as it shows itself first.

    python deploy/demo/screenshots.py [--repository serving/models] [--output docs/pictures]

Needs a Chromium: Debian's package `chromium`, or what CHROMIUM names. Only inputs that are ours are shown.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from neurips16.clients.tasks import found_tasks
from neurips16.serving import TritonServer

ROOT = Path(__file__).parents[2]
SIZE = {"width": 1180, "height": 860}
LOAD_MS, ANSWER_MS = 60_000, 6_000  # the first answer of a tab may be an ascent


def main() -> None:
    """Serve, open the page, and take one picture of each tab."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, default=ROOT / "serving/models", help="the models to show")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/pictures", help="where the pictures go")
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
    """Take the pictures of the page at ``url``: its overview, and each tab by its address."""
    folder.mkdir(parents=True, exist_ok=True)
    addresses = ["", *(address for task in found_tasks() for address in task.tab)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"))
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        for address in addresses:
            page.goto(f"{url}/{address}", timeout=LOAD_MS)
            page.wait_for_timeout(ANSWER_MS)
            taken = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
            target = folder / f"page-{address or 'overview'}.png"
            taken.quantize(256).save(target, optimize=True)
            print(target)  # noqa: T201
        browser.close()


if __name__ == "__main__":
    main()
