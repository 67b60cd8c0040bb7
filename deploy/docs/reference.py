"""Pages of the documentation that are made of the code: a hook of MkDocs.

The command reference comes from the commands themselves. The client reference is read by mkdocstrings, which wants the
packages below one folder called `neurips16`: links to the checkout's folders are put under `build/docs-source`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import typer
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

from neurips16.clients.command import command_line
from neurips16.clients.tasks import found_tasks

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "build/docs-source/neurips16"
FIELDS = ROOT / "serving/backends/onnxruntime/fields.def"
SUITE = ROOT / "docs/records/onnx-suite.json"
FIELD = re.compile(r'^FIELD\("([^"]+)", (\w+), (\w+), "([^"]*)"\)$', re.MULTILINE)
DRIVERS = ("client.Client", "async_client.AsyncClient", "in_process.LocalClient")
PACKAGES = ("clients", "export", "serving", "training")


def on_startup(**_: Any) -> None:
    """Lay out the packages as mkdocstrings wants them."""
    SOURCE.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        if not (SOURCE / package).is_symlink():
            (SOURCE / package).symlink_to(ROOT / package)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made of the code, and those that stand elsewhere in the checkout."""
    files.append(File.generated(config, "reference/commands.md", content=commands()))
    files.append(File.generated(config, "reference/clients.md", content=clients()))
    files.append(File.generated(config, "reference/fields.md", content=fields()))
    files.append(File.generated(config, "reference/onnx-suite.md", content=onnx_suite()))
    files.append(File.generated(config, "security.md", content=security()))
    return files


def fields() -> str:
    """The table of configuration fields, from the one that the backend reads when it loads a model."""
    words = {"Core": "Triton", "Backend": "backend", "Named": "no, and said", "Silent": "no", "Refused": "refused"}
    rows = [
        "# Fields of a model configuration\n",
        "Who honours each field of a `config.pbtxt`: where `neurips16 serve` runs it, and in NVIDIA's image.\n",
        "*no, and said*: it has no effect, and the log names it when the model loads.\n",
        "| field | `neurips16 serve` | NVIDIA's image | |",
        "|---|---|---|---|",
    ]
    for path, here, image, note in FIELD.findall(FIELDS.read_text()):
        text = note.replace("|", "\\|")
        rows.append(f"| `{path}` | {words[here]} | {words[image]} | {text} |")
    return "\n".join(rows) + "\n"


def onnx_suite() -> str:
    """What came of ONNX's own node cases, from the recorded run."""
    found = json.loads(SUITE.read_text())
    rows = [
        "# ONNX's own test suite\n",
        f"The {found['cases']} node cases of onnx {found['onnx']}, served without a config.pbtxt and asked over gRPC, "
        f"with ONNX Runtime {found['onnxruntime']}: {found['right']} are answered as in process, {len(found['wrong'])} "
        f"wrongly, {len(found['refused'])} are refused when they load. Left out: {found['not_in_process']} that ONNX "
        f"Runtime does not run in process, and {found['beyond_tensors']} of sequences, maps or optional values, which "
        "Triton has no type for.\n",
        "`ONNX_SUITE_EVERY=1 ONNX_SUITE_RECORD=docs/records/onnx-suite.json pytest tests/serving/test_onnx_suite.py`\n",
        "| refused | reason |",
        "|---|---|",
    ]
    rows += [f"| `{name}` | {reason.replace('|', ' ')} |" for name, reason in sorted(found["refused"].items())]
    return "\n".join(rows) + "\n"


def clients() -> str:
    """The page of the three drivers, and of what each task adds to them."""
    parts = ["# Clients\n", *(f"::: neurips16.clients.{name}\n" for name in DRIVERS)]
    for task in found_tasks():
        if task.calls:
            parts.append(
                f"## Calls: {task.summary}\n\nMethods of all three clients, which run what is described here.\n"
            )
        for reference in task.calls.values():
            module, _, name = reference.partition(":")
            parts.append(f"::: {task.package}.{module}.{name}\n    options: {{heading_level: 3}}\n")
    return "\n".join([*parts, *(f"::: neurips16.clients.protocol.{name}\n" for name in ("connection", "errors"))])


def commands() -> str:
    """The page of every sub-command, from its own help."""
    application = typer.main.get_command(command_line())
    parts = ["# Commands\n", "`neurips16 COMMAND --help` says the same.\n"]
    for name, command in sorted(application.commands.items()):  # type: ignore[attr-defined]
        title = f"neurips16 {name}"
        context = typer.Context(command, info_name=title)
        parts.append(get_docs_for_click(obj=command, ctx=context, indent=1, name=title))
    return "\n".join(parts)


def security() -> str:
    """How to report a hole, and the threat model; links to files of the checkout are left out."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("SECURITY.md", "deploy/THREATS.md")]
    return re.sub(r"\[([^\]]+)\]\((?!http)[^)]*\)", r"\1", "\n\n".join(texts))
