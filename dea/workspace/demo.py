"""The demo: one event through a Lambda function, SSM, SSH, the forced command and an approved command, and back.

The function runs as `inv run-lambda` runs it. It shows each leg with its time, as the function's own log has it. Run as a
program: `python -m dea.workspace.demo`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import uuid
from typing import Any

from rich.console import Console

from dea.workspace import checkout, run_lambda
from dea.workspace import settings as function_settings
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import starting
from dea.workspace.runtime import Deployed, Invocation, Runtime, install_client
from dea.workspace.sandbox import ACCOUNT, REGION, Sandbox, sandbox

FUNCTION = "example"
EVENT = {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}

_out = Console(highlight=False, soft_wrap=True)


class _Log:
    """The function's log, one JSON object a line: the session's lines hold what each leg took."""

    def __init__(self, text: str) -> None:
        self.lines: list[dict[str, Any]] = []
        for line in text.splitlines():
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                continue  # what a library prints by itself

    def field(self, message: str, name: str) -> Any:
        """Return a field of the first line whose message begins so, or None."""
        return next((line.get(name) for line in self.lines if str(line.get("message")).startswith(message)), None)


def main() -> int:
    """Run the demo and return its exit status."""
    begin = time.monotonic()
    try:
        with starting("starting the sandbox: an AWS endpoint and a login node on this machine", sandbox()) as box:
            _show(box, time.monotonic() - begin)
    except WorkspaceError as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    return 0


def _show(box: Sandbox, start_s: float) -> None:
    invocation, log = _invoke(box)
    if invocation.failed:
        raise WorkspaceError(f"the function failed: {invocation.error}")
    received = next(line for line in box.audit() if line["event"] == "received")
    ended = next(line for line in box.audit() if line["event"] == "ended")
    _row("event", json.dumps(EVENT))
    _row(
        "request",
        f"{received['request']!r}, as it reached the login node ({box.login_node}) with the key {received['key']!r}",
    )
    for stream in ("stdout", "stderr"):
        _row(stream, repr(str(log.field(f"{stream}: ", "message") or "").removeprefix(f"{stream}: ")))
    _row("status", str(ended["status"]))
    _row("result", json.dumps(json.loads(invocation.payload)))
    _out.print()
    for leg, seconds in (
        ("sandbox started", start_s),
        ("function loaded", (invocation.report.init_duration_ms or 0.0) / 1000),
        ("credentials from SSM, decrypted", log.field("credentials read", "duration_s")),
        ("SSH connection, host key checked", log.field("connected", "duration_s")),
        ("command, as the login node saw it", ended["duration_s"]),
        ("handler, all of it", invocation.report.duration_ms / 1000),
    ):
        _out.print(f"{leg:<36}{seconds * 1000:>8.0f} ms", markup=False)


def _invoke(box: Sandbox) -> tuple[Invocation, _Log]:
    function = checkout.function(FUNCTION)
    settings = function_settings.read(function)
    with tempfile.TemporaryFile("w+") as written, run_lambda.code(function, settings) as task_root:
        deployed = Deployed(
            name=FUNCTION,
            arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{FUNCTION}",
            task_root=task_root,
            client=install_client(task_root.interpreter),
            variables=box.environment({"DEA_LOG_LEVEL": "DEBUG"}),
            memory_mb=settings.memory_mb,
            timeout_s=settings.timeout_s,
            log_format="JSON",
        )
        with Runtime(deployed, log=written.fileno()) as warm:
            invocation = warm.invoke(json.dumps(EVENT).encode(), str(uuid.uuid4()))
        written.seek(0)
        return invocation, _Log(written.read())


def _row(label: str, value: str) -> None:
    _out.print(f"{label:<9}{value}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
