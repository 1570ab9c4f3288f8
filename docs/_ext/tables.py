"""What the directives of this folder share: a table made of cells."""

from __future__ import annotations

from collections.abc import Sequence

from docutils import nodes

Cell = str | nodes.Node


def table(rows: Sequence[Sequence[Cell]], widths: Sequence[int]) -> nodes.table:
    """Return a table whose first row is its head.

    Args:
        rows: The rows; a text becomes a paragraph, in which what stands between backticks is code.
        widths: The columns' widths, in relation to each other.
    """
    group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in widths), cols=len(widths))
    made = [nodes.row("", *(nodes.entry("", _node(cell)) for cell in row)) for row in rows]
    group += nodes.thead("", made[0])
    group += nodes.tbody("", *made[1:])
    return nodes.table("", group)


def prose(text: str) -> nodes.paragraph:
    """Return a paragraph; what stands between backticks is code."""
    parts = text.split("`")
    return nodes.paragraph(
        "", "", *(nodes.literal("", part) if at % 2 else nodes.Text(part) for at, part in enumerate(parts))
    )


def literal(text: str) -> nodes.paragraph:
    """Return a paragraph that is code."""
    return nodes.paragraph("", "", nodes.literal("", text))


def section(title: nodes.Node, anchor: str, *content: nodes.Node) -> nodes.section:
    """Return a section that other pages can link to by its anchor."""
    made = nodes.section(ids=[anchor], names=[anchor])
    made += nodes.title("", "", title)
    made += content
    return made


def _node(cell: Cell) -> nodes.Node:
    return prose(cell) if isinstance(cell, str) else cell
