"""A hundred commands: by `run_many`, one by one in one session, and each the predecessor's way.

All talk to the same sandbox, by turns within one run, from one process. It measures the way to the login node and the
dispatcher there: the commands themselves do next to nothing, and there is no network but loopback.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dea.raijin import RaijinSession
from dea.workspace.sandbox import Sandbox, sandbox

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
COUNT = 100
MIN_ROUNDS = 5
REQUEST = "example"
BASE = "many"


def main() -> int:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(prog="benchmarks/many", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help=f"at least {MIN_ROUNDS} (default: %(default)s)")
    rounds: int = parser.parse_args().rounds
    if rounds < MIN_ROUNDS:
        parser.error(f"--rounds is at least {MIN_ROUNDS}: fewer do not show the spread")
    with sandbox() as box:
        environment = box.environment({"PATH": os.defpath, "HOME": str(box.home)})
        os.environ.clear()
        os.environ.update(environment)
        sides = _sides()
        for call in sides.values():
            call(2)  # once for nothing: both ends write their caches at the first run
        measured: dict[str, list[float]] = {side: [] for side in sides}
        for number in range(rounds):
            for side in sides if number % 2 else reversed(sides):
                begin = time.perf_counter()
                sides[side](COUNT)
                measured[side].append(time.perf_counter() - begin)
            print(f"\rround {number + 1} of {rounds}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        results = _results(measured, rounds, box)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    for row in (results["headings"], *results["rows"]):
        print("".join(f"{cell:<44}" if at == 0 else f"{cell:>26}" for at, cell in enumerate(row)))
    return 0


def _sides() -> dict[str, Callable[[int], None]]:
    """Return what is measured, by name: each performs so many calls, connecting included."""
    sys.path.insert(0, str(HERE.parent / "session"))
    from predecessor import call  # noqa: PLC0415 - it lies beside another benchmark

    def many(count: int) -> None:
        with RaijinSession() as session:
            results = session.run_many([REQUEST] * count)
        if not all(result.ok for result in results):
            sys.exit("a call did not work")

    def one_by_one(count: int) -> None:
        with RaijinSession() as session:
            for _ in range(count):
                session.exec_command(REQUEST).check()

    def predecessor(count: int) -> None:
        for _ in range(count):
            if call(REQUEST)[2] != 0:
                sys.exit("a call did not work")

    return {"many": many, "one_by_one": one_by_one, "predecessor": predecessor}


def _results(measured: dict[str, list[float]], rounds: int, box: Sandbox) -> dict[str, Any]:
    titles = {
        "many": "run_many, 8 at once over one connection",
        "one_by_one": "one by one, one session",
        "predecessor": "one by one, the predecessor's way",
    }
    rows = []
    for side, title in titles.items():
        first, median, third = statistics.quantiles(measured[side], n=4, method="inclusive")
        ratios = [one / other for one, other in zip(measured[side], measured[BASE], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        rows.append([title, f"{median:.2f} ({first:.2f} to {third:.2f})", f"{middle:.1f} ({low:.1f} to {high:.1f})"])
    return {
        "benchmark": "many",
        "command": "python benchmarks/many",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {
            "cores": os.cpu_count(),
            "architecture": platform.machine(),
            "system": platform.system(),
            "python": platform.python_version(),
            "login_node": box.login_node,
        },
        "rounds": rounds,
        "headings": [f"{COUNT} commands", "s", "times run_many's"],
        "rows": rows,
        "seconds": measured,
    }


if __name__ == "__main__":
    sys.exit(main())
