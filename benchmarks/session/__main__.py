"""What a call costs: cold, second in the same session, first of a new session; against the predecessor's way.

Both sides talk to the same sandbox, by turns within one run; each round is a fresh process for each side. It measures
the session alone: not Lambda's own cold start, and no network but loopback.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from benchmarks.measuring import Spread, Turns, in_turn, ratio
from benchmarks.report import Comparison, Report, Table, main
from dea.workspace.checkout import ROOT
from dea.workspace.sandbox import Sandbox, sandbox

SIDES = ("dea", "predecessor")
CALLS = {
    "cold": ("cold call", ": SSM, connect, run"),
    "second": ("second call", ", same session"),
    "new_session": ("first call of a new session", ", same process"),
}
HEADINGS = ("Call", "dea.raijin, ms", "predecessor, ms", "times faster")


def measure(turns: Turns) -> Report:
    """Measure both sides."""
    measured: dict[str, dict[str, list[float]]] = {side: {call: [] for call in CALLS} for side in SIDES}
    with sandbox() as box:
        _probe(box, SIDES[0])  # once for nothing: the login node writes its caches at its first run
        for number in turns:
            for side in in_turn(SIDES, number):
                for call, seconds in _probe(box, side).items():
                    measured[side][call].append(seconds)
    faster = {call: ratio(measured["predecessor"][call], measured["dea"][call]) for call in CALLS}
    rows = [
        [f"{what}{how}", *(Spread.of(measured[side][call]).text(0, 1e3) for side in SIDES), faster[call].text()]
        for call, (what, how) in CALLS.items()
    ]
    return Report(
        tables={"calls": Table(HEADINGS, rows)},
        comparisons=[Comparison(what, "the predecessor", faster[call]) for call, (what, _) in CALLS.items()],
        details=f"the login node is the sandbox's ({box.login_node})",
    )


def _probe(box: Sandbox, side: str) -> dict[str, float]:
    """Return the seconds of each call in a fresh process of one side."""
    environment = box.environment({"PATH": os.defpath, "HOME": str(box.home)})
    command = [sys.executable, "-m", "benchmarks.session.probe", side]
    done = subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    seconds: dict[str, float] = json.loads(done.stdout)
    return seconds


if __name__ == "__main__":
    sys.exit(main("session", measure, __doc__))
