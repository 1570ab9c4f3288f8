"""The directives `commands`, `functions`, `sessions`, `modules` and `error-classes`: what the checkout itself says.

Nothing is listed here: what is new appears, and what does not say what it is for is an error.
"""

from __future__ import annotations

import ast
import builtins
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from source_pages import SourceLink
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from tables import literal, prose, section, table

from dea.remote.contract.describe import usage, wider_than_usual
from dea.remote.contract.schema import ANY, label, rule_text
from dea.workspace import checkout, environment, settings

if TYPE_CHECKING:
    from dea.remote.contract.schema import Rule

ROOT = Path(__file__).parents[2]
PARTS = ("remote", "raijin", "lambdas", "workspace")


class CommandsDirective(SphinxDirective):
    """Makes one section for each command, from its approval."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        made: list[nodes.Node] = []
        for name, command in checkout.commands().items():
            path = command.folder / "approved.json"
            self.env.note_dependency(str(path))
            approved = json.loads(path.read_text("utf-8"))
            rules = approved["arguments"]
            about = section(
                nodes.literal("", name),
                f"command-{name.replace('_', '-')}",
                prose(approved["summary"]),
                nodes.literal_block("", usage(name, rules), language="text"),
            )
            if rules == ANY:
                about += nodes.paragraph("", "Whatever a client sends reaches the command unchecked.")
            elif rules:
                about += table(
                    [("Argument", "Rule", "If not given", "Meaning"), *map(_argument, rules)], (22, 38, 15, 25)
                )
            about += nodes.paragraph("", " ".join(_limits(approved)))
            about += _files(command.folder)
            made.append(about)
        return made


def _argument(rule: Rule) -> tuple[nodes.Node | str, ...]:
    holds = wider_than_usual(rule)
    said = rule_text(rule) + (f"; it can hold {', '.join(holds)}" if holds else "")
    if rule.get("repeat"):
        said += "; can be repeated"
    if rule.get("secret"):
        said += f"; secret: it arrives in the variable {rule['environment']}"
    absent = "an error" if rule.get("required") else " ".join(rule["default"]) if "default" in rule else "left out"
    return literal(label(rule)), said, absent, str(rule.get("description", ""))


def _limits(approved: dict[str, object]) -> Iterator[str]:
    timeout_s = approved.get("timeout")
    yield f"It is ended after {timeout_s} s." if timeout_s else "It has no time limit of its own; the site's holds."
    if "max_parallel" in approved:
        yield f"At most {approved['max_parallel']} of it may run at once, over all login nodes."
    yield "It gets what the client sends on stdin, unchecked." if approved.get("stdin") else "Its stdin is empty."
    variables = approved.get("environment") or {}
    if isinstance(variables, dict) and variables:
        yield f"Its environment has {', '.join(f'{name}={value}' for name, value in variables.items())}."


def _files(folder: Path) -> nodes.paragraph:
    paragraph = nodes.paragraph("", "Files: ")
    names = [name for name in ("command.yaml", "run", "install.sh", "approved.json") if (folder / name).is_file()]
    for number, name in enumerate(names):
        paragraph += nodes.Text(", " if number else "")
        path = (folder / name).relative_to(ROOT).as_posix()
        paragraph += SourceLink("", "", nodes.literal("", name), path=path, line=0)
    return paragraph


class FunctionsDirective(SphinxDirective):
    """Makes one section for each function, from its module, function.yaml and env_vars.yaml."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        return [self._section(function) for function in checkout.functions().values()]

    def _section(self, function: checkout.Function) -> nodes.section:
        for name in (settings.FILE_NAME, environment.FILE_NAME, function.source.name):
            self.env.note_dependency(str(function.folder / name))
        if not function.summary:
            raise self.error(
                f"functions/{function.name}/{function.name}.py says nothing of itself: give it a docstring"
            )
        deployed = settings.read(function)
        facts: list[tuple[nodes.Node | str, ...]] = [
            ("Setting", "Value"),
            (literal("handler"), literal(deployed.handler)),
            (literal("python"), literal(deployed.python)),
            (literal("architecture"), literal(deployed.architecture)),
            (literal("memory"), f"{deployed.memory_mb} MB"),
            (literal("timeout"), f"{deployed.timeout_s} s"),
            (literal("commands"), ", ".join(deployed.commands) or "none"),
        ]
        about = section(
            nodes.literal("", function.name),
            f"function-{function.name.replace('_', '-')}",
            prose(function.summary),
            table(facts, (30, 70)),
        )
        variables = environment.read(function.folder / environment.FILE_NAME).variables.values()
        if variables:
            rows = [(literal(one.name), one.description, _default(one)) for one in variables]
            about += table([("Environment variable", "What it is for", "Default"), *rows], (30, 40, 30))
        path = function.source.relative_to(ROOT).as_posix()
        about += nodes.paragraph("", "", SourceLink("", "", nodes.literal("", path), path=path, line=0))
        return about


def _default(variable: environment.Variable) -> nodes.Node | str:
    if variable.required:
        return "required"
    return literal(str(variable.default)) if variable.default is not None else "none"


class SessionsDirective(SphinxDirective):
    """Makes a table of the Nox sessions, from their docstrings."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        path = ROOT / "noxfile.py"
        self.env.note_dependency(str(path))
        rows = []
        for name, said in sessions(path):
            if not said:
                raise self.error(f"noxfile.py: the session {name} says nothing of itself: give it a docstring")
            rows.append((literal(f"nox -s {name}"), said))
        return [table([("Session", "What it does"), *rows], (30, 70))]


def sessions(path: Path) -> list[tuple[str, str]]:
    """Return each session's name and docstring."""
    return [
        (one.name, " ".join((ast.get_docstring(one) or "").split()))
        for one in ast.parse(path.read_text("utf-8")).body
        if isinstance(one, ast.FunctionDef) and any("nox.session" in ast.unparse(mark) for mark in one.decorator_list)
    ]


class ModulesDirective(SphinxDirective):
    """Makes a table of a distribution's modules, each with the first sentence that it says of itself."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        folder = ROOT / "dea" / self.arguments[0]
        rows = []
        for path in sorted(folder.rglob("*.py")):
            self.env.note_dependency(str(path))
            docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            if not docstring:
                raise self.error(f"{name} says nothing of itself: give it a docstring")
            link = SourceLink("", "", nodes.literal("", name), path=path.relative_to(ROOT).as_posix(), line=0)
            rows.append((nodes.paragraph("", "", link), first_sentence(docstring)))
        return [table([("Module", "What it is for"), *rows], (35, 65))]


def first_sentence(docstring: str) -> str:
    r"""Return a docstring's first sentence, on one line.

    >>> first_sentence("Checks X. It\\nknows nothing of Y.")
    'Checks X.'
    """
    paragraph = " ".join(docstring.split("\n\n", maxsplit=1)[0].split())
    return paragraph.partition(". ")[0].rstrip(".:") + "."


class ErrorClassesDirective(SphinxDirective):
    """Makes a table of the error classes that the page does not describe and distributions do not export, from their docstrings."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        rows = []
        page = Path(self.env.doc2path(self.env.docname)).read_text("utf-8")
        for part in self.arguments[0].split():
            for path, one in error_classes(part):
                if one.name in exported(part) or f"| `{one.name}` |" in page:
                    continue
                self.env.note_dependency(str(path))
                docstring = ast.get_docstring(one)
                if not docstring:
                    raise self.error(f"{path}: {one.name} says nothing of itself: give it a docstring")
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
                link = SourceLink(
                    "", "", nodes.literal("", one.name), path=path.relative_to(ROOT).as_posix(), line=one.lineno
                )
                rows.append((nodes.paragraph("", "", link), literal(name), first_sentence(docstring)))
        return [table([("Error", "Module", "When"), *rows], (25, 35, 40))]


def exported(part: str) -> set[str]:
    """Return the names that a distribution exports."""
    path = ROOT / "dea" / part / "__init__.py"
    tree = ast.parse(path.read_text("utf-8")) if path.is_file() else ast.Module([], [])
    return {
        name
        for one in tree.body
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "__all__"
        for name in ast.literal_eval(one.value)
    }


def error_classes(part: str) -> list[tuple[Path, ast.ClassDef]]:
    """Return the public classes of a distribution that are exceptions, whatever they inherit that from."""
    known = {name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)}
    classes = [
        (path, one)
        for folder in (ROOT / "dea").iterdir()
        for path in sorted(folder.rglob("*.py"))
        for one in ast.parse(path.read_text("utf-8")).body
        if isinstance(one, ast.ClassDef)
    ]
    found: list[tuple[Path, ast.ClassDef]] = []
    while new := [
        (path, one)
        for path, one in classes
        if (path, one) not in found and any(ast.unparse(base).rpartition(".")[2] in known for base in one.bases)
    ]:
        found += new
        known |= {one.name for _, one in new}
    folder = ROOT / "dea" / part
    return sorted(
        ((path, one) for path, one in found if folder in path.parents and not one.name.startswith("_")),
        key=lambda each: (str(each[0]), each[1].lineno),
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives with Sphinx."""
    app.add_directive("commands", CommandsDirective)
    app.add_directive("functions", FunctionsDirective)
    app.add_directive("sessions", SessionsDirective)
    app.add_directive("modules", ModulesDirective)
    app.add_directive("error-classes", ErrorClassesDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
