"""What Python's own start costs on the login node, and what each module would add that the dispatcher does without.

Each is a process of the login node's Python, started as the dispatcher is, by turns.
"""

from __future__ import annotations

import functools
import statistics
import subprocess
import sys

from benchmarks.measuring import Spread, Turns, ratio
from benchmarks.report import Comparison, Report, Table, main, version_of
from dea.workspace import interpreters

NOTHING = "nothing"
MODULES = ("os", "re", "json", "typing", "signal", "socket", "hashlib", "subprocess", "argparse", "logging")
HEADINGS = ("What is imported", "start and end, ms", "more than for nothing, ms")


def measure(turns: Turns) -> Report:
    """Measure the start alone, and with each module."""
    python = interpreters.login_node()
    programs = {NOTHING: "pass", **{name: f"import {name}" for name in MODULES}}
    calls = {name: functools.partial(_start, [str(python), "-I", "-S", "-c", text]) for name, text in programs.items()}
    for call in calls.values():
        call()  # once for nothing: caches
    seconds = turns.seconds(calls)
    nothing = statistics.median(seconds[NOTHING])
    rows = [
        [name, Spread.of(own).text(1, 1e3), f"{(statistics.median(own) - nothing) * 1e3:.1f}"]
        for name, own in seconds.items()
    ]
    return Report(
        tables={"starts": Table(HEADINGS, rows)},
        comparisons=[
            Comparison("a start without it", f"with {name}", ratio(seconds[name], seconds[NOTHING])) for name in MODULES
        ],
        python=version_of(python),
    )


def _start(command: list[str]) -> None:
    subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, check=True)


if __name__ == "__main__":
    sys.exit(main("start", measure, __doc__))
