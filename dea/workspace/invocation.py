"""Runs a function's handler once, in a process of its own with an environment of its own: the inner half of `run-lambda`.

As a program it is that process: it reads `{"source", "function", "event", "timeout_s"}` from standard input and writes
`{"result"}` or `{"errorType", "errorMessage", "stackTrace"}` to the descriptor given as its argument.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
import traceback
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from dea.workspace.checkout import Function

MEMORY_MB = 512


@dataclass(frozen=True)
class Context:
    """What a handler gets as its second argument, as far as it makes sense outside Lambda."""

    function_name: str
    timeout_s: float
    function_version: str = "$LATEST"
    memory_limit_in_mb: str = str(MEMORY_MB)
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started_at: float = field(default_factory=time.monotonic)

    @property
    def invoked_function_arn(self) -> str:
        """The function's ARN, in an account that is none."""
        return f"arn:aws:lambda:ap-southeast-2:000000000000:function:{self.function_name}"

    @property
    def log_group_name(self) -> str:
        """The log group that Lambda would use."""
        return f"/aws/lambda/{self.function_name}"

    @property
    def log_stream_name(self) -> str:
        """A log stream's name."""
        return "sandbox"

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds left until the function's timeout."""
        return max(0, int((self.started_at + self.timeout_s - time.monotonic()) * 1000))


def invoke(function: Function, event: Any, environment: dict[str, str], timeout_s: float) -> dict[str, Any]:
    """Run the handler in a new process and return its answer: `{"result"}` or an error as Lambda words it.

    What the handler prints and logs goes to this process's standard error.
    """
    request = {"source": str(function.source), "function": function.name, "event": event, "timeout_s": timeout_s}
    read_end, write_end = os.pipe()
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", "dea.workspace.invocation", str(write_end)],
            stdin=subprocess.PIPE,
            stdout=sys.stderr.fileno(),
            env=environment,
            pass_fds=[write_end],
        )
    finally:
        os.close(write_end)
    try:
        with os.fdopen(read_end, "rb") as answers:
            assert child.stdin is not None  # noqa: S101 - asked for above
            with child.stdin:
                child.stdin.write(json.dumps(request).encode())
            answer = answers.read()
    finally:
        child.terminate()
        child.wait()
    if not answer:
        return {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"the process ended with status {child.returncode} without an answer",
        }
    parsed: dict[str, Any] = json.loads(answer)
    return parsed


def _main(descriptor: int) -> None:
    request = json.load(sys.stdin)
    try:
        module = import_function(Path(request["source"]), request["function"])
        result = module.handler(request["event"], Context(request["function"], request["timeout_s"]))
        answer = json.dumps({"result": result})
    except BaseException as error:  # noqa: BLE001 - as Lambda's runtime does: whatever it is, it becomes the answer
        frames = traceback.format_list(traceback.extract_tb(error.__traceback__)[2:])
        answer = json.dumps({"errorType": type(error).__name__, "errorMessage": str(error), "stackTrace": frames})
    with os.fdopen(descriptor, "w", encoding="utf-8") as answers:
        answers.write(answer)


def import_function(source: Path, name: str) -> ModuleType:
    """Import a function's module from its file, with its folder on the path, as Lambda does."""
    sys.path.insert(0, str(source.parent))
    spec = importlib.util.spec_from_file_location(name, source)
    assert spec is not None and spec.loader is not None  # noqa: S101 - a .py file has both
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    _main(int(sys.argv[1]))
