"""The directive `benchmark`: what one benchmark found, from `benchmarks/results.json`, so that no figure is typed twice.

It shows what was measured, and measures nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmark_plot import svg
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from tables import table

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results.json"


class BenchmarkDirective(SphinxDirective):
    """Shows the first table of the benchmark that its first argument names, its plot, and how it was measured.

    A second argument names another of its tables, which is shown alone.
    """

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table; with the first one of a benchmark, the plot and a paragraph too."""
        self.env.note_dependency(str(RESULTS))
        name = self.arguments[0]
        found = json.loads(RESULTS.read_text("utf-8")).get(name)
        if found is None:
            raise self.error(f"{RESULTS.name} has no benchmark {name}: measure it with nox -s benchmarks -- {name}")
        tables = found["tables"]
        if len(self.arguments) > 1:
            return [_table(tables[self.arguments[1]])]
        plot = [nodes.raw("", svg(found["comparisons"]), format="html")] if found["comparisons"] else []
        return [_table(next(iter(tables.values()))), *plot, _how(name, found)]


def _how(name: str, found: dict[str, Any]) -> nodes.paragraph:
    machine = found["machine"]
    return nodes.paragraph(
        "",
        "",
        nodes.Text("Median and, in parentheses or as a line, the quartiles of "),
        nodes.Text(f"{found['rounds']} rounds. Measured on {found['date']} with "),
        nodes.literal("", f"nox -s benchmarks -- {name}"),
        nodes.Text(
            f" on a machine with {machine['cores']} {machine['architecture']} cores, {machine['system']}, "
            f"CPython {machine['python']}{'; ' if found['details'] else ''}{found['details']}."
        ),
    )


def _table(made: dict[str, Any]) -> nodes.table:
    headings = made["headings"]
    others = len(headings) - 1
    return table([headings, *made["rows"]], (40, *[60 // others] * others))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive with Sphinx."""
    app.add_directive("benchmark", BenchmarkDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
