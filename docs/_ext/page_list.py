"""The directive `page-list`: the other pages of its page's folder, each with the first sentence of its text."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class PageListDirective(SphinxDirective):
    """Makes the list, sorted by title."""

    def run(self) -> list[nodes.Node]:
        """Return the list."""
        here = Path(self.env.doc2path(self.env.docname))
        items = []
        for path in sorted(here.parent.glob("*.md")):
            if path != here:
                self.env.note_dependency(str(path))
                title, sentence = beginning(path.read_text("utf-8"))
                items.append(f"- [{title}]({path.name}): {sentence}")
        return self.parse_text_to_nodes("\n".join(sorted(items)))


def beginning(text: str) -> tuple[str, str]:
    r"""Return a page's title and the first sentence below it.

    >>> beginning("# One key\\n\\n**It does\\nX.** Or Y.")
    ('One key', 'It does X.')
    """
    title, _, rest = text.partition("\n\n")
    paragraph = " ".join(rest.lstrip().split("\n\n")[0].replace("**", "").split())
    end = paragraph.find(". ")
    return title.removeprefix("# ").strip(), paragraph if end < 0 else paragraph[: end + 1]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive with Sphinx."""
    app.add_directive("page-list", PageListDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
