"""The directive `tasks`: every task of `tasks.py` with every option, from Invoke's own help."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from invoke.collection import Collection
from invoke.parser.argument import Argument
from invoke.tasks import Task
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from tables import prose, section, table

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
            _section(str(context.name), collection[str(context.name)], [*context.args.values()]) for context in contexts
        ]


def _collection() -> Collection:
    spec = importlib.util.spec_from_file_location("tasks", TASKS)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{TASKS} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules["tasks"] = module
    spec.loader.exec_module(module)
    return Collection.from_module(module)


def _section(name: str, task: Task[Any], arguments: list[Argument]) -> nodes.section:
    docstring = task.__doc__ or ""
    if not docstring:
        raise RuntimeError(f"{TASKS.name}: the task {name} has no docstring")
    about = section(nodes.literal("", f"inv {name}"), f"inv-{name}")
    for paragraph in docstring.strip().split("\n\n"):
        about += prose(" ".join(paragraph.split()))
    if arguments:
        parameters = inspect.signature(task.body).parameters.values()
        required = {one.name.rstrip("_").replace("_", "-") for one in parameters if one.default is one.empty}
        ordered = sorted(arguments, key=lambda argument: (argument.name not in required, str(argument.name)))
        rows = [_row(argument, required=argument.name in required) for argument in ordered]
        about += table([HEADINGS, *rows], (30, 50, 20))
    else:
        about += nodes.paragraph("", "It has no options.")
    return about


def _row(argument: Argument, *, required: bool) -> list[nodes.Node]:
    """Return the cells of one option: how it is written, what it is for, its default."""
    if not argument.help:
        raise RuntimeError(f"{TASKS.name}: option --{argument.name} has no help")
    value = "" if argument.kind is bool else " VALUE"
    written = nodes.paragraph()
    for spelled in sorted(argument.names, key=len, reverse=True):
        if written.children:
            written += nodes.Text(", ")
        written += nodes.literal("", f"--{spelled}{value}" if len(spelled) > 1 else f"-{spelled}{value}")
    return [written, prose(argument.help), _default(argument.default, required=required)]


def _default(default: Any, *, required: bool) -> nodes.paragraph:
    if required:
        return nodes.paragraph("", "required")
    if default is None or default is False or default in ("", (), []):
        return nodes.paragraph("", "none" if default is not False else "off")
    return nodes.paragraph("", "", nodes.literal("", str(default)))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive with Sphinx."""
    app.add_directive("tasks", TasksDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
