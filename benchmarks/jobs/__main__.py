"""A thousand open batch jobs: asked for by one `qstat`, and by one for each job, as the predecessor did.

There is no PBS server: `qstat` is a small shell script that prints what a real server printed for such a job, so what is
measured is the cost of the processes and of reading their answers. A server's own time for each request, and the second
that the predecessor slept between two, come on top of the second way.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dea.remote.schedulers import pbs
from dea.remote.schedulers.calls import hold, perform

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
SAMPLE = HERE.parents[1] / "tests" / "remote" / "schedulers" / "samples" / "openpbs-23.06.06" / "running.json"
COUNT = 1000
MIN_ROUNDS = 5
BASE = "one"

QSTAT = """#!/bin/sh
for last in "$@"; do :; done
if [ "$#" -gt 5 ]; then exec cat "{folder}/all"; fi
exec cat "{folder}/$last"
"""


def main() -> int:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(prog="benchmarks/jobs", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help=f"at least {MIN_ROUNDS} (default: %(default)s)")
    rounds: int = parser.parse_args().rounds
    if rounds < MIN_ROUNDS:
        parser.error(f"--rounds is at least {MIN_ROUNDS}: fewer do not show the spread")
    with tempfile.TemporaryDirectory() as name:
        sides = _sides(Path(name))
        measured: dict[str, list[float]] = {side: [] for side in sides}
        for number in range(rounds):
            for side in sides if number % 2 else reversed(sides):
                begin = time.perf_counter()
                sides[side]()
                measured[side].append(time.perf_counter() - begin)
            print(f"\rround {number + 1} of {rounds}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    results = _results(measured, rounds)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    for row in (results["headings"], *results["rows"]):
        print("".join(f"{cell:<44}" if at == 0 else f"{cell:>26}" for at, cell in enumerate(row)))
    return 0


def _sides(folder: Path) -> dict[str, Callable[[], None]]:
    """Return what is measured, by name: each learns how all jobs stand."""
    document = json.loads(SAMPLE.read_text("utf-8"))
    ((_, job),) = document["Jobs"].items()
    ids = [f"{number}.gadi-pbs" for number in range(COUNT)]
    for job_id in ids:
        (folder / job_id).write_text(json.dumps({**document, "Jobs": {job_id: job}}, indent=4))
    (folder / "all").write_text(json.dumps({**document, "Jobs": dict.fromkeys(ids, job)}, indent=4))
    program = folder / "qstat"
    program.write_text(QSTAT.format(folder=folder))
    program.chmod(0o755)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"

    def ask(some: list[str]) -> None:
        jobs = hold(pbs.status(some), perform)
        if len(jobs) != len(some) or any(one.state != "running" for one in jobs.values()):
            sys.exit("a question was not answered")

    def one() -> None:
        ask(ids)

    def each() -> None:
        for job_id in ids:
            ask([job_id])

    return {"one": one, "each": each}


def _results(measured: dict[str, list[float]], rounds: int) -> dict[str, Any]:
    titles = {"one": "one qstat for all", "each": "one qstat for each job"}
    rows = []
    for side, title in titles.items():
        first, median, third = statistics.quantiles(measured[side], n=4, method="inclusive")
        ratios = [one / other for one, other in zip(measured[side], measured[BASE], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        rows.append([title, f"{median:.2f} ({first:.2f} to {third:.2f})", f"{middle:.1f} ({low:.1f} to {high:.1f})"])
    return {
        "benchmark": "jobs",
        "command": "python benchmarks/jobs",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {
            "cores": os.cpu_count(),
            "architecture": platform.machine(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "with": "qstat is a shell script that prints what a real server printed",
        "rounds": rounds,
        "headings": [f"How {COUNT:,} open jobs stand", "s", "times one question's"],
        "rows": rows,
        "seconds": measured,
    }


if __name__ == "__main__":
    sys.exit(main())
