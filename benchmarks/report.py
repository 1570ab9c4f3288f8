"""What a benchmark found: printed as tables, and kept in the one file that the documentation shows, `results.json`.

A benchmark is a package in this folder whose `__main__` calls `main` with its name and what measures it.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measuring import Spread, Turns
from benchmarks.plan import PLAN

RESULTS = Path(__file__).with_name("results.json")
"""What the documentation shows: for each benchmark its own date and machine, because one can be measured alone."""

_DIGITS = 4


@dataclass(frozen=True)
class Table:
    """A table as it is shown: its cells are text."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Comparison:
    """One line of a benchmark's plot.

    Attributes:
        what: What was done.
        peer: Who did it otherwise.
        times_faster: How many times as long the peer took as we did, or how many times as fast we were: more than 1 is ours.
    """

    what: str
    peer: str
    times_faster: Spread


@dataclass(frozen=True)
class Report:
    """What one benchmark found.

    Attributes:
        tables: Its tables by name; the documentation shows the first with the plot.
        comparisons: The lines of its plot.
        details: What has to be known of how it was measured, besides the machine.
        python: The version of Python that was measured, if that is not this one.
    """

    tables: Mapping[str, Table]
    comparisons: Sequence[Comparison] = ()
    details: str = ""
    python: str = field(default_factory=platform.python_version)


def main(name: str, measure: Callable[[Turns], Report], about: str | None) -> int:
    """Measure, print the tables, keep what was found.

    Args:
        name: The benchmark's name, as in `PLAN`.
        measure: What measures it.
        about: What it measures; the first line is its help.

    Returns:
        The exit status.
    """
    part = PLAN[name]
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=(about or "").partition("\n")[0])
    parser.add_argument(
        "--rounds",
        type=int,
        help=f"exactly so many (default: {part.rounds}, in {part.limit_s:g} s; {part.least} at least)",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to keep them in (default: %(default)s)")
    options = parser.parse_args()
    if options.rounds is None:
        turns = Turns(part.rounds, part.least, part.limit_s)
    elif options.rounds >= (part.least if options.results == RESULTS else 2):
        turns = Turns(options.rounds, options.rounds, 0)
    else:
        parser.error(
            f"--rounds is at least {part.least}, or 2 with --results: fewer do not show the spread that the documentation does"
        )
    report = measure(turns)
    keep(options.results, name, entry(report, turns.done))
    for table in report.tables.values():
        show(table)
    return 0


def version_of(python: Path) -> str:
    """Return an interpreter's version."""
    command = [str(python), "-I", "-S", "-c", "import platform; print(platform.python_version())"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def entry(report: Report, rounds: int) -> dict[str, Any]:
    """Return what is kept of a report."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {
            "cores": os.cpu_count(),
            "architecture": platform.machine(),
            "system": platform.system(),
            "python": report.python,
        },
        "rounds": rounds,
        "details": report.details,
        "tables": {name: asdict(table) for name, table in report.tables.items()},
        "comparisons": [
            {
                "what": one.what,
                "peer": one.peer,
                "times_faster": {key: float(f"{value:.{_DIGITS}g}") for key, value in asdict(one.times_faster).items()},
            }
            for one in report.comparisons
        ],
    }


def keep(path: Path, name: str, found: dict[str, Any]) -> None:
    """Put what one benchmark found into the file of all, in the place of what it found before."""
    results: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError):
        results = json.loads(path.read_text("utf-8"))
    results[name] = found
    ordered = {one: results[one] for one in (*PLAN, *results) if one in results}
    new = path.with_suffix(".new")
    new.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", "utf-8")
    new.replace(path)


def show(table: Table) -> None:
    """Print a table."""
    widths = [max(len(row[at]) for row in (table.headings, *table.rows)) for at in range(len(table.headings))]
    for row in (table.headings, *table.rows):
        cells = (
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("   ".join(cells).rstrip())
    print()
