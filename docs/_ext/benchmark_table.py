"""The directive `benchmark`: the table of one benchmark's `results.json`, so that no figure is typed twice.

It shows what was measured, and measures nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HEADINGS = ("Call", "dea.raijin, ms", "predecessor, ms", "times faster")


class BenchmarkDirective(SphinxDirective):
    """Makes a table of the benchmark that its first argument names, with how it was measured below.

    A second argument names another of its tables, which is shown alone.
    """

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table and, with the first one of a benchmark, one paragraph."""
        path = BENCHMARKS / self.arguments[0] / "results.json"
        self.env.note_dependency(str(path))
        results = json.loads(path.read_text("utf-8"))
        if len(self.arguments) > 1:
            return [_made_table(results[self.arguments[1]])]
        if "headings" in results:  # the benchmark has made its own cells
            return [_made_table(results), _how(results)]
        return [_table([HEADINGS, *(_cells(call) for call in results["calls"])]), _how(results)]


def _made_table(made: dict[str, Any]) -> nodes.table:
    return _table([tuple(made["headings"]), *map(tuple, made["rows"])])


def _cells(call: dict[str, Any]) -> tuple[str, ...]:
    sides = (
        f"{spread['median_ms']:.0f} ({spread['q1_ms']:.0f} to {spread['q3_ms']:.0f})"
        for spread in (call["dea"], call["predecessor"])
    )
    ratio = call["ratio"]
    return (call["title"], *sides, f"{ratio['median']:.1f} ({ratio['q1']:.1f} to {ratio['q3']:.1f})")


def _how(results: dict[str, Any]) -> nodes.paragraph:
    machine = results["machine"]
    login_node = f"the login node is the sandbox's ({machine['login_node']})" if "login_node" in machine else ""
    details = "; ".join(text for text in (login_node, results.get("with", "")) if text)
    return nodes.paragraph(
        "",
        "",
        nodes.Text("Median and, in parentheses, the quartiles of "),
        nodes.Text(f"{results['rounds']} rounds. Measured on {results['date']} with "),
        nodes.literal("", results["command"]),
        nodes.Text(
            f" on a machine with {machine['cores']} {machine['architecture']} cores, {machine['system']}, "
            f"CPython {machine['python']}; {details}."
        ),
    )


def _table(rows: list[tuple[str, ...]]) -> nodes.table:
    """Return a table whose first row is its head."""
    widths = (40, *(60 // (len(rows[0]) - 1) for _ in rows[0][1:]))
    group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in widths), cols=len(widths))
    made = [nodes.row("", *(nodes.entry("", nodes.paragraph("", cell)) for cell in row)) for row in rows]
    group += nodes.thead("", made[0])
    group += nodes.tbody("", *made[1:])
    return nodes.table("", group)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive with Sphinx."""
    app.add_directive("benchmark", BenchmarkDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
