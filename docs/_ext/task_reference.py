"""The directive `tasks`: every task of `tasks.py` with every option, from Invoke's own help."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from invoke.collection import Collection
from invoke.parser.argument import Argument
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

TASKS = Path(__file__).parents[2] / "tasks.py"
HEADINGS = ("Option", "What it is", "Default")


class TasksDirective(SphinxDirective):
    """Makes one section for each task, sorted by name."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        self.env.note_dependency(str(TASKS))
        collection = _collection()
        contexts = sorted(collection.to_contexts(), key=lambda context: str(context.name))
        return [
            _section(str(context.name), collection[str(context.name)].__doc__ or "", [*context.args.values()])
            for context in contexts
        ]


def _collection() -> Collection:
    spec = importlib.util.spec_from_file_location("tasks", TASKS)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{TASKS} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules["tasks"] = module
    spec.loader.exec_module(module)
    return Collection.from_module(module)


def _section(name: str, docstring: str, arguments: list[Argument]) -> nodes.section:
    section = nodes.section(ids=[f"inv-{name}"], names=[f"inv {name}"])
    section += nodes.title("", "", nodes.literal("", f"inv {name}"))
    for paragraph in docstring.strip().split("\n\n"):
        section += nodes.paragraph("", " ".join(paragraph.split()))
    if arguments:
        rows = [_row(argument) for argument in sorted(arguments, key=lambda argument: str(argument.name))]
        section += _table([[nodes.paragraph("", heading) for heading in HEADINGS], *rows])
    else:
        section += nodes.paragraph("", "It has no options.")
    return section


def _row(argument: Argument) -> list[nodes.Node]:
    """Return the cells of one option: how it is written, what it is for, its default."""
    if not argument.help:
        raise RuntimeError(f"{TASKS.name}: option --{argument.name} has no help")
    value = "" if argument.kind is bool else " VALUE"
    written = nodes.paragraph()
    for spelled in sorted(argument.names, key=len, reverse=True):
        if written.children:
            written += nodes.Text(", ")
        written += nodes.literal("", f"--{spelled}{value}" if len(spelled) > 1 else f"-{spelled}{value}")
    return [written, nodes.paragraph("", argument.help), _default(argument.default, required=argument.positional)]


def _default(default: Any, *, required: bool) -> nodes.paragraph:
    if required:
        return nodes.paragraph("", "required")
    if default is None or default is False or default in ("", (), []):
        return nodes.paragraph("", "none" if default is not False else "off")
    return nodes.paragraph("", "", nodes.literal("", str(default)))


def _table(rows: list[list[nodes.Node]]) -> nodes.table:
    """Return a table whose first row is its head."""
    group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in (30, 50, 20)), cols=len(HEADINGS))
    made = [nodes.row("", *(nodes.entry("", cell) for cell in row)) for row in rows]
    group += nodes.thead("", made[0])
    group += nodes.tbody("", *made[1:])
    return nodes.table("", group)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive with Sphinx."""
    app.add_directive("tasks", TasksDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
