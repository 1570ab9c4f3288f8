"""The role `source`: a link to a file of the checkout, or to a function in it, shown as a page of this documentation.

So a promise, the code that keeps it and the test that tries it are two clicks apart, in the same version, without a network:

    {source}`dea/remote/gate.py` {source}`tests/remote/test_keys.py::test_patterns`

What is not there is a warning, and so an error.
"""

from __future__ import annotations

import ast
import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

ROOT = Path(__file__).parents[2]
LEXERS = {".py": "python", ".yaml": "yaml", ".json": "json", ".toml": "toml", ".sh": "bash"}

_logger = logging.getLogger(__name__)


class SourceLink(nodes.General, nodes.Inline, nodes.TextElement):
    """A link that is resolved when the page is written."""


class SourceRole(SphinxRole):
    """Makes a link; it shows the function's name, or else the path. A test's name is a sentence, and is shown as one."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the link, after a look at what it leads to."""
        path, _, name = self.text.partition("::")
        try:
            line = line_of(ROOT / path, name)
        except LookupError as error:
            _logger.warning("%s", error, location=self.get_location())
            return [nodes.literal("", self.text)], []
        self.env.note_dependency(str(ROOT / path))
        sentence = name.removeprefix("test_")
        shown = nodes.literal("", name or path) if sentence == name else nodes.Text(sentence.replace("_", " "))
        return [SourceLink("", "", shown, path=path, line=line)], []


def line_of(path: Path, name: str = "") -> int:
    """Return the line at which a function or class begins, 0 without a name.

    Args:
        path: The file.
        name: `function`, `Class` or `Class.method`.

    Raises:
        LookupError: If there is no such file, or no such name in it.
    """
    if not path.is_file():
        raise LookupError(f"there is no file {path.relative_to(ROOT)}")
    if not name:
        return 0
    body: list[ast.stmt] = ast.parse(path.read_text("utf-8")).body
    line = 0
    for part in name.split("."):
        found = [one for one in body if getattr(one, "name", None) == part]
        if not found or not isinstance(found[0], ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            raise LookupError(f"{path.relative_to(ROOT)} has no {name}")
        body, line = found[0].body, found[0].lineno
    return line


class _Pages:
    """The files that are linked to, and their pages."""

    def __init__(self) -> None:
        self._wanted: set[str] = set()

    def resolve(self, app: Sphinx, doctree: nodes.document, docname: str) -> None:
        for link in list(doctree.findall(SourceLink)):
            self._wanted.add(link["path"])
            address = app.builder.get_relative_uri(docname, f"source/{link['path']}")
            anchor = f"#L-{link['line']}" if link["line"] else ""
            link.replace_self(nodes.reference("", "", *link.children, internal=True, refuri=address + anchor))

    def pages(self, app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
        for path in sorted(self._wanted):
            file = ROOT / path
            text = file.read_text("utf-8")
            lexer = LEXERS.get(file.suffix, "bash" if text.startswith("#!") else "text")
            shown = app.builder.highlighter.highlight_block(text, lexer, lineanchors="L")  # type: ignore[attr-defined]
            body = f"<h1><code>{html.escape(path)}</code></h1>\n{shown}"
            yield f"source/{path}", {"title": path, "body": body}, "page.html"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the role, and what resolves it, with Sphinx."""
    pages = _Pages()
    app.add_node(SourceLink)
    app.add_role("source", SourceRole())
    app.connect("doctree-resolved", pages.resolve)
    app.connect("html-collect-pages", pages.pages)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
