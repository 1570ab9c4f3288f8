"""A hundred commands: by `run_many`, one by one in one session, and each the predecessor's way.

All talk to the same sandbox, by turns within one run, from one process. It measures the way to the login node and the
dispatcher there: the commands themselves do next to nothing, and there is no network but loopback.
"""

from __future__ import annotations

import functools
import os
import sys

from benchmarks.measuring import Spread, Turns, ratio
from benchmarks.report import Comparison, Report, Table, main
from benchmarks.session.predecessor import call
from dea.raijin import RaijinSession
from dea.workspace.sandbox import sandbox

COUNT = 100
REQUEST = "example"
HEADINGS = (f"{COUNT} commands", "s", "times run_many's")


def many(count: int) -> None:
    """Perform so many calls by `run_many`, connecting included."""
    with RaijinSession() as session:
        results = session.run_many([REQUEST] * count)
    if not all(result.ok for result in results):
        sys.exit("a call did not work")


def one_by_one(count: int) -> None:
    """Perform them one by one in one session."""
    with RaijinSession() as session:
        for _ in range(count):
            session.exec_command(REQUEST).check()


def predecessor(count: int) -> None:
    """Perform each the predecessor's way."""
    for _ in range(count):
        if call(REQUEST)[2] != 0:
            sys.exit("a call did not work")


WAYS = {
    "run_many, 8 at once over one connection": many,
    "one by one, one session": one_by_one,
    "one by one, the predecessor's way": predecessor,
}


def measure(turns: Turns) -> Report:
    """Measure all three."""
    with sandbox() as box:
        environment = box.environment({"PATH": os.defpath, "HOME": str(box.home)})
        os.environ.clear()
        os.environ.update(environment)
        for way in WAYS.values():
            way(2)  # once for nothing: both ends write their caches at the first run
        measured = turns.seconds({title: functools.partial(way, COUNT) for title, way in WAYS.items()})
    ours = next(iter(measured))
    longer = {title: ratio(seconds, measured[ours]) for title, seconds in measured.items()}
    rows = [[title, Spread.of(seconds).text(2), longer[title].text()] for title, seconds in measured.items()]
    return Report(
        tables={"commands": Table(HEADINGS, rows)},
        comparisons=[Comparison(f"{COUNT} commands", title, longer[title]) for title in measured if title != ours],
        details=f"the login node is the sandbox's ({box.login_node})",
    )


if __name__ == "__main__":
    sys.exit(main("many", measure, __doc__))
