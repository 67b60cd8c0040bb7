"""The demo: serves the shipped models on a real Triton and runs each client on real input, as a user would.

Real data sets are preferred where they are (``--data``); otherwise the inputs beside this file, which are ours.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from rich.console import Console

from neurips16.serving import TritonServer

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
CONJECTURES = ("t3_xboole_1", "t28_xboole_1", "t8_xboole_1")  # of Mizar's library: Boolean properties of sets
console = Console()


def main() -> None:
    """Serve, then run the commands one by one; the first that fails ends the demo with its status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="folder of the real data sets")
    data = parser.parse_args().data
    console.rule("Starting Triton on serving/models")
    with TritonServer(ROOT / "serving/models", grpc_port=0, http_port=None, metrics_port=None) as server:
        console.print(f"ready at {server.url}: {', '.join(sorted(server.models))}")
        with tempfile.TemporaryDirectory(prefix="neurips16-demo-") as folder:
            run(server.url, "models")
            rank_premises(server.url, data / "premises/deepmath", Path(folder))
            detect(server.url, data / "detection/BCCD")
            classify_sounds(server.url, data / "demo/audio")
            generate(server.url, ROOT / "build/demo", Path(folder))
    console.rule("That was the demo")
    console.print("Serve the models yourself:  .venv/bin/neurips16 serve serving/models")


def rank_premises(url: str, data: Path, folder: Path) -> None:
    """Premise ranking, then a proof from what was ranked."""
    archive = data / "nndata.tar.xz"
    if not archive.is_file():
        console.print(f"[dim]{archive} is not there: the statements of deploy/demo are used[/dim]")
        files = ["--conjecture", str(HERE / "conjecture.p"), "--premises", str(HERE / "premises.p")]
        run(url, "rank-premises", *files, "--top", "5")
        run(url, "prove", *files, "--top", "3,10")
        return
    pools: list[str] = []
    for name, text in conjectures(archive):
        lines = text.splitlines()
        (folder / f"{name}.p").write_text(lines[0][2:] + "\n")
        pools += [line[2:] for line in lines[1:]]
        useful = [line[2:].split(",")[0].removeprefix("fof(") for line in lines[1:] if line[0] == "+"]
        console.print(f"[dim]{name}: its known proof uses {', '.join(useful)}[/dim]")
    premises = folder / "premises.p"
    premises.write_text("\n".join(dict.fromkeys(pools)) + "\n")
    for name in CONJECTURES:
        run(url, "rank-premises", "--conjecture", str(folder / f"{name}.p"), "--premises", str(premises), "--top", "5")
    index = str(folder / "index")
    run(url, "index-premises", str(premises), index)
    run(url, "prove", "--conjecture", str(folder / f"{CONJECTURES[0]}.p"), "--index", index, "--top", "4,16")


def detect(url: str, data: Path) -> None:
    """Blood cells on three pictures of the test split; the drawn pictures stay in build/demo."""
    index = data / "ImageSets/Main/test.txt"
    if index.is_file():
        pictures = [str(data / "JPEGImages" / f"{name}.jpg") for name in index.read_text().split()[:3]]
    else:
        console.print(f"[dim]{index} is not there: the picture of deploy/demo is used[/dim]")
        pictures = [str(HERE / "cells.jpg")]
    run(url, "detect", *pictures, "--draw", str(ROOT / "build/demo"))


def classify_sounds(url: str, recordings: Path) -> None:
    """What can be heard in recordings, or in sounds of ours where there are none."""
    files = sorted(map(str, recordings.glob("*.*"))) if recordings.is_dir() else []
    if not files:
        console.print(f"[dim]{recordings} is not there: the sounds of deploy/demo are used[/dim]")
        files = sorted(map(str, (HERE / "sounds").glob("*.ogg")))
    run(url, "classify-sound", *files, "--top", "2")


def generate(url: str, pictures: Path, folder: Path) -> None:
    """A grid of each generator; the digits that are swapped are generated ones. The pictures stay in build/demo."""
    pictures.mkdir(parents=True, exist_ok=True)
    codes = ["--count", "40", "--continuous=-0.5,0.5"]
    run(url, "generate", "infogan", *codes, "--output", str(pictures / "infogan.png"))
    run(url, "generate", "infogan", "--traverse", "0", "--output", str(pictures / "infogan-traversal.png"))
    words = []
    for option, seed in (("--style", 7), ("--content", 70)):
        for category in (0, 2, 4, 7):
            digit = str(folder / f"{category}-{seed}.png")
            one = ["--category", str(category), "--count", "1", "--scale", "1", "--seed", str(seed)]
            run(url, "generate", "infogan", *one, "--output", digit)
            words += [option, digit]
    run(url, "generate", "disentangle", *words, "--output", str(pictures / "disentangle.png"))
    run(url, "generate", "dgn-am", "--steps", "200", "--output", str(pictures / "dgn-am.png"))
    run(url, "generate", "dgn-am", "--steps", "200", "--output", str(pictures / "dgn-am.gif"))


def conjectures(archive: Path) -> list[tuple[str, str]]:
    """The demo's conjectures with their premises, from the data set's archive."""
    with tarfile.open(archive) as tar:
        found = {}
        for member in tar:
            if (name := Path(member.name).name) in CONJECTURES and (handle := tar.extractfile(member)) is not None:
                found[name] = handle.read().decode()
            if len(found) == len(CONJECTURES):
                break
    return [(name, found[name]) for name in CONJECTURES]


def run(url: str, *arguments: str) -> None:
    """Run one `neurips16` command against the server, showing it as a user would type it."""
    console.rule(f"neurips16 {shlex.join(arguments)}", align="left")
    command = [str(Path(sys.executable).parent / "neurips16"), *arguments]
    status = subprocess.run(command, env={**os.environ, "NEURIPS16_URL": url}, check=False).returncode
    if status:
        sys.exit(f"error: `{shlex.join(command)}` ended with status {status}")


if __name__ == "__main__":
    main()
