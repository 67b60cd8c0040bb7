"""Pages of the documentation that are made of the code: a hook of MkDocs.

The command reference comes from the commands themselves. The client reference is read by mkdocstrings, which wants the
packages below one folder called `neurips16`: links to the checkout's folders are put under `build/docs-source`.
"""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import typer
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "build/docs-source/neurips16"
FIELDS = ROOT / "serving/backends/onnxruntime/fields.def"
FIELD = re.compile(r'^FIELD\("([^"]+)", (\w+), (\w+), "([^"]*)"\)$', re.MULTILINE)
PACKAGES = ("clients", "export", "serving", "training")


def on_startup(**_: Any) -> None:
    """Lay out the packages as mkdocstrings wants them."""
    SOURCE.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        if not (SOURCE / package).is_symlink():
            (SOURCE / package).symlink_to(ROOT / package)


def on_files(files: Files, config: Any) -> Files:
    """Add the command reference, and what of a model's configuration is honoured."""
    files.append(File.generated(config, "reference/commands.md", content=commands()))
    files.append(File.generated(config, "reference/fields.md", content=fields()))
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


def commands() -> str:
    """The page of every sub-command, from its own help."""
    parts = ["# Commands\n", "`neurips16 COMMAND --help` says the same.\n"]
    for entry in sorted(entry_points(group="neurips16.commands"), key=lambda entry: entry.name):
        found = entry.load()
        app = found if isinstance(found, typer.Typer) else typer.Typer(add_completion=False)
        if app is not found:
            app.command(entry.name)(found)
        command = typer.main.get_command(app)
        context = typer.Context(command, info_name=f"neurips16 {entry.name}")
        parts.append(get_docs_for_click(obj=command, ctx=context, indent=1, name=f"neurips16 {entry.name}"))
    return "\n".join(parts)
