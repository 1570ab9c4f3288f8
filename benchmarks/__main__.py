"""Runs the benchmarks, all or those that are named, one after the other and no longer than fifteen minutes.

Each is a process of its own, and its figures are kept when it ends.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time

from benchmarks.plan import LIMIT_S, PLAN

_GRACE_S = 30


def main() -> int:
    """Run them; return 1 if one failed or did not end in time."""
    parser = argparse.ArgumentParser(prog="nox -s benchmarks --", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PLAN)} (default: all)")
    parser.add_argument("--minutes", type=float, default=LIMIT_S / 60, help="how long at most (default: %(default)g)")
    parser.add_argument("--rounds", help="exactly so many of each, instead of what fits into its time")
    parser.add_argument("--results", help="keep the figures in this file, not in that of the documentation")
    options = parser.parse_args()
    given = {"--rounds": options.rounds, "--results": options.results}
    passed_on = [word for option, value in given.items() if value is not None for word in (option, value)]
    if unknown := [name for name in options.names if name not in PLAN]:
        parser.error(f"there is no benchmark {unknown[0]!r}: choose from {', '.join(PLAN)}")
    ends = time.monotonic() + options.minutes * 60
    problems = []
    for name in options.names or PLAN:
        print(f"{name}:", file=sys.stderr, flush=True)
        problem = _run([sys.executable, "-m", f"benchmarks.{name}", *passed_on], ends - time.monotonic())
        if problem:
            problems.append(f"{name} {problem}")
            print(problems[-1], file=sys.stderr, flush=True)
    if problems:
        print(f"not measured: {'; '.join(problems)}; what was measured is kept", file=sys.stderr)
    return 1 if problems else 0


def _run(command: list[str], left_s: float) -> str:
    """Run one benchmark; return what became of it if it did not end well."""
    if left_s <= 0:
        return "was not begun: the time was over"
    # A group of its own, so that all that it has started ends with it.
    with subprocess.Popen(command, start_new_session=True) as running:
        try:
            status = running.wait(left_s)
        except subprocess.TimeoutExpired:
            _end(running)
            return "was ended: the time was over"
        except KeyboardInterrupt:
            _end(running)
            raise
    return f"failed with status {status}" if status else ""


def _end(running: subprocess.Popen[bytes]) -> None:
    """End a benchmark as Ctrl-C would, so that it removes its folders, and all of it if that takes too long."""
    os.killpg(running.pid, signal.SIGINT)
    try:
        running.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
