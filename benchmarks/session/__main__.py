"""What a call costs: cold, second in the same session, first of a new session; against the predecessor's way.

Both sides talk to the same sandbox, by turns within one run; each round is a fresh process for each side. It measures
the session alone: not Lambda's own cold start, and no network but loopback.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from dea.workspace.sandbox import Sandbox, sandbox

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
SIDES = ("dea", "predecessor")
CALLS = {
    "cold": "cold call: SSM, connect, run",
    "second": "second call, same session",
    "new_session": "first call of a new session, same process",
}
MIN_ROUNDS = 20


def main() -> int:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(prog="benchmarks/session", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25, help=f"at least {MIN_ROUNDS} (default: %(default)s)")
    rounds: int = parser.parse_args().rounds
    if rounds < MIN_ROUNDS:
        parser.error(f"--rounds is at least {MIN_ROUNDS}: fewer do not show the spread")
    with sandbox() as box:
        _probe(box, SIDES[0])  # once for nothing: the login node writes its caches at its first run
        measured = _measure(box, rounds)
        results = _results(measured, rounds, box)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    _show(results)
    return 0


def _measure(box: Sandbox, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the seconds by side and call, one for each round."""
    measured: dict[str, dict[str, list[float]]] = {side: {call: [] for call in CALLS} for side in SIDES}
    for number in range(rounds):
        # By turns, and each side first in every other round: what drifts meets both alike.
        for side in SIDES if number % 2 else reversed(SIDES):
            for call, seconds in _probe(box, side).items():
                measured[side][call].append(seconds)
        print(f"\rround {number + 1} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return measured


def _probe(box: Sandbox, side: str) -> dict[str, float]:
    environment = box.environment({"PATH": os.defpath, "HOME": str(box.home)})
    done = subprocess.run(
        [sys.executable, HERE / "probe.py", side], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    seconds: dict[str, float] = json.loads(done.stdout)
    return seconds


def _results(measured: dict[str, dict[str, list[float]]], rounds: int, box: Sandbox) -> dict[str, Any]:
    return {
        "benchmark": "session",
        "command": "python benchmarks/session",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {
            "cores": os.cpu_count(),
            "architecture": platform.machine(),
            "system": platform.system(),
            "python": platform.python_version(),
            "login_node": box.login_node,
        },
        "rounds": rounds,
        "calls": [
            {
                "call": call,
                "title": title,
                **{side: _spread_ms(measured[side][call]) for side in SIDES},
                "ratio": _ratio(measured["predecessor"][call], measured["dea"][call]),
            }
            for call, title in CALLS.items()
        ],
    }


def _spread_ms(seconds: list[float]) -> dict[str, float]:
    first, median, third = statistics.quantiles(seconds, n=4, method="inclusive")
    return {"median_ms": round(median * 1e3, 1), "q1_ms": round(first * 1e3, 1), "q3_ms": round(third * 1e3, 1)}


def _ratio(slower: list[float], faster: list[float]) -> dict[str, float]:
    """Return how many times faster: the median and quartiles of the ratio within each round."""
    by_round = [one / other for one, other in zip(slower, faster, strict=True)]
    first, median, third = statistics.quantiles(by_round, n=4, method="inclusive")
    return {"median": round(median, 2), "q1": round(first, 2), "q3": round(third, 2)}


def _show(results: dict[str, Any]) -> None:
    machine = results["machine"]
    print(f"{results['rounds']} rounds, {machine['cores']} cores, Python {machine['python']}, {results['date']}")
    print(f"{'median (quartiles), ms':<43}{'dea.raijin':>24}{'predecessor':>24}{'times faster':>20}")
    for row in results["calls"]:
        cells = [f"{row[side]['median_ms']} ({row[side]['q1_ms']}-{row[side]['q3_ms']})" for side in SIDES]
        ratio = f"{row['ratio']['median']} ({row['ratio']['q1']}-{row['ratio']['q3']})"
        print(f"{row['title']:<43}{cells[0]:>24}{cells[1]:>24}{ratio:>20}")


if __name__ == "__main__":
    sys.exit(main())
