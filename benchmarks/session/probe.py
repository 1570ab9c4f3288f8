"""One fresh process of the benchmark: imports one side, times its calls, prints the seconds as JSON.

It is started by the benchmark itself, with the sandbox's environment. Imports are not timed: both sides use the same
two libraries, boto3 and paramiko.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

REQUEST = "example"


def _timed(call: Callable[[], tuple[str, str, int]]) -> float:
    begin = time.perf_counter()
    stdout, _, exit_code = call()
    seconds = time.perf_counter() - begin
    if exit_code != 0 or "example" not in stdout.split():
        sys.exit(f"the call did not work: exit status {exit_code}")
    return seconds


def dea() -> dict[str, float]:
    """Time a cold call, a second one in the same session, and the first one of a new session."""
    from dea.raijin import RaijinSession  # noqa: PLC0415 - only this side's process imports it

    session, later = RaijinSession(), RaijinSession()
    seconds = {
        "cold": _timed(lambda: session.exec_command(REQUEST)),
        "second": _timed(lambda: session.exec_command(REQUEST)),
    }
    session.close()
    seconds["new_session"] = _timed(lambda: later.exec_command(REQUEST))
    later.close()
    return seconds


def predecessor() -> dict[str, float]:
    """Time a cold call and two more; each of them connects anew, so the third is a second one too."""
    from benchmarks.session.predecessor import call  # noqa: PLC0415 - only this side's process imports it

    return {name: _timed(lambda: call(REQUEST)) for name in ("cold", "second", "new_session")}


if __name__ == "__main__":
    print(json.dumps({"dea": dea, "predecessor": predecessor}[sys.argv[1]]()))
