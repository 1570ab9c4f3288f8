"""The documentation as the tests read it: pages, their headings, tables and blocks. It knows as much Markdown as they need."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("dea/*/README.md"))
    if "_build" not in path.parts
)
"""Every page, READMEs included, by its path in the repository."""

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<info>.*)$")
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: The language, or the directive's in its argument's place.
        caption: The caption, or empty.
        text: What is in it.
        mark: The comment right above it, without `% `, or empty.
    """

    language: str
    caption: str
    text: str
    mark: str


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        heading: The heading that it stands below.
        head: Its columns' headings.
        rows: The other rows' cells.
    """

    heading: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def names(self) -> list[str]:
        """Return what stands as code in the first column."""
        return [name for row in self.rows for name in codes(row[0])]


@functools.cache
def read(page: str) -> str:
    """Return a page's text."""
    return (ROOT / page).read_text("utf-8")


def codes(text: str) -> list[str]:
    """Return what stands between backticks; of a role, its content."""
    return _CODE.findall(text)


def blocks(text: str) -> list[Block]:
    """Return a page's fenced blocks in order."""
    found: list[Block] = []
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        opening = _FENCE.match(lines[at])
        if opening is None:
            at += 1
            continue
        end = at + 1
        while lines[end].strip() != opening["fence"]:
            end += 1
        inside = [line.removeprefix(opening["indent"]) for line in lines[at + 1 : end]]
        info, caption = opening["info"].strip(), ""
        if info.startswith("{"):
            info = info.partition("}")[2].strip() if info.startswith("{code-block}") else info
            while inside and inside[0].startswith(":"):
                name, _, value = inside.pop(0)[1:].partition(": ")
                caption = value if name == "caption" else caption
            inside = inside[1:] if inside and not inside[0] else inside
        above = lines[at - 1] if at else ""
        mark = above.removeprefix("% ") if above.startswith("% ") else ""
        found.append(Block(info, caption, "".join(f"{line}\n" for line in inside), mark))
        at = end + 1
    return found


def prose(text: str) -> str:
    """Return a page without its fenced blocks."""
    kept, fence = [], ""
    for line in text.splitlines():
        opening = _FENCE.match(line)
        if fence:
            fence = "" if line.strip() == fence else fence
        elif opening:
            fence = opening["fence"]
        else:
            kept.append(line)
    return "\n".join(kept)


@functools.cache
def tables(text: str) -> list[Table]:
    """Return a page's tables in order."""
    found: list[Table] = []
    heading = ""
    rows: list[tuple[str, ...]] = []
    for line in [*prose(text).splitlines(), ""]:
        if line.lstrip().startswith("|"):
            rows.append(_cells(line))
            continue
        if rows:
            found.append(Table(heading, rows[0], tuple(rows[2:])))
            rows = []
        if line.startswith("#"):
            heading = line.lstrip("# ")
    return found


def headings(text: str) -> list[str]:
    """Return a page's headings."""
    return [line.lstrip("# ") for line in prose(text).splitlines() if line.startswith("#")]


def _cells(line: str) -> tuple[str, ...]:
    bare = line.strip().strip("|").replace(r"\|", "\0")
    return tuple(cell.strip().replace("\0", "|") for cell in bare.split("|"))


def folder(name: str) -> list[str]:
    """Return the pages of one folder of the documentation."""
    return [page for page in PAGES if Path(page).parent == Path("docs") / name]
