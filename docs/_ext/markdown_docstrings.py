"""Shows docstrings as this project writes them, where reStructuredText or napoleon would read something else into them.

An indented block that a blank line sets apart is code or a drawing, as in Markdown. A constant's docstring is prose
from its first word on: napoleon would take what stands before a colon for a type.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

_PLAIN = {"attribute", "data"}


def mark_literal_blocks(lines: list[str]) -> list[str]:
    """Put `::` before each indented block that follows a blank line and a line of prose.

    Sections of the Google style ("Args:") have no blank line before what they indent, and so stay as they are.

    >>> mark_literal_blocks(["Run it:", "", "    inv list"])
    ['Run it:', '', '::', '', '    inv list']
    """
    marked: list[str] = []
    prose = False
    for index, line in enumerate(lines):
        indented = line.startswith(" ")
        if indented and prose and index and not lines[index - 1].strip():
            marked += ["::", ""]
        if line.strip():
            prose = not indented
        marked.append(line)
    return marked


class _Docstrings:
    """What napoleon is given, and what it must not have changed."""

    def __init__(self) -> None:
        self._plain: dict[str, list[str]] = {}

    def before_napoleon(self, _app: Sphinx, what: str, name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
        lines[:] = mark_literal_blocks(lines)
        if what in _PLAIN:
            self._plain[name] = [*lines]

    def after_napoleon(self, _app: Sphinx, _what: str, name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
        if name in self._plain:
            lines[:] = self._plain.pop(name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx, on both sides of napoleon."""
    docstrings = _Docstrings()
    app.connect("autodoc-process-docstring", docstrings.before_napoleon, priority=100)
    app.connect("autodoc-process-docstring", docstrings.after_napoleon, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
