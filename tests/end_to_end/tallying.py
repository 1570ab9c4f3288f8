"""Functions whose commands count their runs on the login node, and a program that calls one as Lambda does.

As a program it takes `{"function", "event", "request_id", "timeout_s"}` as JSON in its one argument, and prints `{"result"}`
or `{"errorType", "errorMessage", "runId"}`.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from dea.lambdas import BatchCommand, RaijinCommand
from dea.remote.contract import join


class Once(RaijinCommand):
    """Counts one run, and waits for its end as long as there is time."""

    COMMAND_NAME = "once"

    def command(self) -> Any:
        return self.raijin.exec_command(join(["tally", self.event["file"], self.event["name"], self.event["gate"]]))


class Each(BatchCommand):
    """Counts one run for each message; its body has the arguments."""

    COMMAND_NAME = "each"

    def command(self, record: Any) -> None:
        self.raijin.exec_command(join(["tally", *json.loads(record["body"])])).check()


class Start(RaijinCommand):
    """Starts one run and does not wait."""

    COMMAND_NAME = "start"

    def command(self) -> Any:
        words = ["tally", self.event["file"], self.event["name"], self.event["gate"]]
        return {"run_id": self.raijin.start(join(words))}


class Result(RaijinCommand):
    """Returns the result of a run, or raises if there is none yet."""

    COMMAND_NAME = "result"

    def command(self) -> Any:
        return self.raijin.result(self.event["run_id"], wait=False)


class Context:
    """Lambda's context object."""

    def __init__(self, function: str, request_id: str, timeout_s: float) -> None:
        self.aws_request_id = request_id
        self.invoked_function_arn = f"arn:aws:lambda:ap-southeast-2:000000000000:function:{function.lower()}"
        self._ends_at = time.monotonic() + timeout_s

    def get_remaining_time_in_millis(self) -> int:
        return int((self._ends_at - time.monotonic()) * 1000)


def invoke(function: str, event: Any, request_id: str, timeout_s: float = 300) -> dict[str, Any]:
    """Call a handler; return what Lambda would tell its caller."""
    try:
        result = globals()[function].handler(event, Context(function, request_id, timeout_s))
    except Exception as error:  # noqa: BLE001 - as Lambda's runtime does: whatever it is, it becomes the answer
        return {
            "errorType": type(error).__name__,
            "errorMessage": str(error),
            "runId": getattr(error, "run_id", None),
        }
    return {"result": json.loads(json.dumps(result))}


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    sys.stdout.write(json.dumps(invoke(asked["function"], asked["event"], asked["request_id"], asked["timeout_s"])))
