"""A thousand open batch jobs: asked for by one `qstat`, and by one for each job, as the predecessor did.

There is no PBS server: `qstat` is a small shell script that prints what a real server printed for such a job, so what is
measured is the cost of the processes and of reading their answers. A server's own time for each request, and the second
that the predecessor slept between two, come on top of the second way.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.measuring import Spread, Turns, ratio
from benchmarks.report import Comparison, Report, Table, main
from dea.remote.schedulers import pbs
from dea.remote.schedulers.calls import hold, perform
from dea.workspace.checkout import ROOT

SAMPLE = ROOT / "tests" / "remote" / "schedulers" / "samples" / "openpbs-23.06.06" / "running.json"
COUNT = 1000
ONE, EACH = "one qstat for all", "one qstat for each job"
HEADINGS = (f"How {COUNT:,} open jobs stand", "s", "times one question's")

QSTAT = """#!/bin/sh
for last in "$@"; do :; done
if [ "$#" -gt 5 ]; then exec cat "{folder}/all"; fi
exec cat "{folder}/$last"
"""


def measure(turns: Turns) -> Report:
    """Measure both ways."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = turns.seconds(_sides(Path(folder)))
    longer = {title: ratio(own, seconds[ONE]) for title, own in seconds.items()}
    return Report(
        tables={
            "questions": Table(
                HEADINGS, [[title, Spread.of(seconds[title]).text(2), longer[title].text()] for title in seconds]
            )
        },
        comparisons=[Comparison(f"{COUNT:,} jobs", EACH, longer[EACH])],
        details="qstat is a shell script that prints what a real server printed",
    )


def _sides(folder: Path) -> dict[str, Callable[[], None]]:
    """Return what is measured, by name: each learns how all jobs stand."""
    document = json.loads(SAMPLE.read_text("utf-8"))
    ((_, job),) = document["Jobs"].items()
    ids = [f"{number}.gadi-pbs" for number in range(COUNT)]
    for job_id in ids:
        (folder / job_id.partition(".")[0]).write_text(json.dumps({**document, "Jobs": {job_id: job}}, indent=4))
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

    return {ONE: one, EACH: each}


if __name__ == "__main__":
    sys.exit(main("jobs", measure, __doc__))
