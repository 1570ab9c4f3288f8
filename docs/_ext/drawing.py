"""The directive `drawing`: a picture, drawn from a text of box-drawing characters.

The text is the picture in an editor and on a terminal; a page shows it as inline SVG, which takes the page's colours and
width. Lines, corners, junctions and arrow heads are drawn; everything else is text. docs/decisions/drawings.md says why.

As a program it draws the first one of a page into a file, for places that show no directives:

    python docs/_ext/drawing.py docs/explanation/way-of-an-event.md docs/_static/way-of-an-event.svg
"""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_WIDTH, _HEIGHT = 8.4, 18.0
"""A character's cell."""

_LINES = {
    "─": "lr", "│": "ud", "┌": "rd", "┐": "ld", "└": "ru", "┘": "lu",
    "├": "udr", "┤": "udl", "┬": "lrd", "┴": "lru", "┼": "lrud",
}  # fmt: skip
_HEADS = {"►": "l", "◄": "r", "▲": "d", "▼": "u"}
"""Arrow heads, and the side at which their line comes in."""

_TEXT = re.compile(rf"[^\s{''.join(_LINES)}{''.join(_HEADS)}]+(?: [^\s{''.join(_LINES)}{''.join(_HEADS)}]+)*")
_FILE_STYLE = (
    "svg{color:#1f2328;background:#fff}@media(prefers-color-scheme:dark){svg{color:#e6edf3;background:#0d1117}}"
)
_DRAWING = re.compile(r"^```\{drawing\} (?P<alt>.+)\n(?P<text>(?:.*\n)*?)```$", re.MULTILINE)


def svg(text: str, alt: str, style: str = "") -> str:
    """Draw a text.

    Args:
        text: The lines.
        alt: What is to be seen, for who does not see it.
        style: CSS for a picture that stands alone; within a page it takes the page's colour.

    >>> svg("a ─►", "an arrow").count("<path")
    2
    """
    lines = text.expandtabs().splitlines()
    width, height = max(map(len, lines)) * _WIDTH, len(lines) * _HEIGHT
    label = html.escape(alt, quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        f'role="img" aria-label="{label}" style="max-width:100%;height:auto" font-family="monospace" font-size="13">'
        + (f"<style>{style}</style>" if style else "")
        + f'<path d="{" ".join(_strokes(lines))}" fill="none" stroke="currentColor" stroke-linecap="square"/>'
        + f'<path d="{" ".join(_heads(lines))}" fill="currentColor"/>'
        + "".join(_texts(lines))
        + "</svg>"
    )


def _strokes(lines: list[str]) -> Iterator[str]:
    """Yield a path for each straight line: neighbouring halves of cells are one."""
    across: set[tuple[int, int]] = set()
    down: set[tuple[int, int]] = set()
    for row, line in enumerate(lines):
        for column, char in enumerate(line):
            sides = _LINES.get(char, "") + _HEADS.get(char, "")
            across.update((row, 2 * column + (side == "r")) for side in sides if side in "lr")
            down.update((column, 2 * row + (side == "d")) for side in sides if side in "ud")
    for row, begin, end in _runs(across):
        yield f"M{begin * _WIDTH / 2:g} {(row + 0.5) * _HEIGHT:g}H{end * _WIDTH / 2:g}"
    for column, begin, end in _runs(down):
        yield f"M{(column + 0.5) * _WIDTH:g} {begin * _HEIGHT / 2:g}V{end * _HEIGHT / 2:g}"


def _runs(halves: set[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    for line, begin in sorted(halves):
        if (line, begin - 1) not in halves:
            end = begin
            while (line, end) in halves:
                end += 1
            yield line, begin, end


def _heads(lines: list[str]) -> Iterator[str]:
    for row, line in enumerate(lines):
        for column, char in enumerate(line):
            if char in _HEADS:
                x, y = (column + 0.5) * _WIDTH, (row + 0.5) * _HEIGHT
                along, aside = ((1, 0), (0, 1)) if _HEADS[char] in "lr" else ((0, 1), (1, 0))
                way = 4.2 if _HEADS[char] in "lu" else -4.2  # away from where the line comes in
                tip = (x + way * along[0], y + way * along[1])
                foot = (x - way * along[0], y - way * along[1])
                corners = [(foot[0] + 3.6 * side * aside[0], foot[1] + 3.6 * side * aside[1]) for side in (-1, 1)]
                yield "M" + "L".join(f"{a:g} {b:g}" for a, b in (tip, *corners)) + "Z"


def _texts(lines: list[str]) -> Iterator[str]:
    for row, line in enumerate(lines):
        for found in _TEXT.finditer(line):
            # The length is given, so that every font fits the cells.
            yield (
                f'<text x="{found.start() * _WIDTH:g}" y="{(row + 0.72) * _HEIGHT:g}" fill="currentColor" '
                f'textLength="{len(found[0]) * _WIDTH:g}" lengthAdjust="spacingAndGlyphs">{html.escape(found[0])}</text>'
            )


class DrawingDirective(SphinxDirective):
    """Draws its content; its argument says what is to be seen."""

    has_content = True
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return the picture."""
        drawn = svg("\n".join(self.content), self.arguments[0])
        return [nodes.container("", nodes.raw("", drawn, format="html"), classes=["drawing"])]


def first_of(page: str) -> tuple[str, str]:
    """Return the first drawing of a page: its text, and what is to be seen.

    Raises:
        ValueError: If there is none.
    """
    found = _DRAWING.search(page)
    if found is None:
        raise ValueError("the page has no drawing")
    return found["text"], found["alt"]


def file_of(page: str) -> str:
    """Return the first drawing of a page as a file of its own."""
    return svg(*first_of(page), style=_FILE_STYLE) + "\n"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive with Sphinx."""
    app.add_directive("drawing", DrawingDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(file_of(Path(sys.argv[1]).read_text("utf-8")), "utf-8")
