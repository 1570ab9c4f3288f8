"""The demo: one event through a Lambda function, SSM, SSH, the forced command and an approved command, and back.

It shows each leg with its time. Run as a program: `python -m dea.workspace.demo`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import Any

from rich.console import Console

from dea.raijin import RaijinError
from dea.workspace import checkout
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import starting
from dea.workspace.invocation import Context, import_function
from dea.workspace.sandbox import Sandbox, sandbox

FUNCTION = "example"
EVENT = {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}

_out = Console(highlight=False, soft_wrap=True)


class _Record(logging.Handler):
    """Keeps the log records of the session: they hold what each leg took."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def field(self, message: str, name: str) -> Any:
        return next((getattr(record, name) for record in self.records if record.msg == message), None)


def main() -> int:
    """Run the demo and return its exit status."""
    begin = time.monotonic()
    try:
        with starting("starting the sandbox: an AWS endpoint and a login node on this machine", sandbox()) as box:
            _show(box, time.monotonic() - begin)
    except (WorkspaceError, RaijinError) as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    return 0


def _show(box: Sandbox, start_s: float) -> None:
    os.environ.clear()
    os.environ.update(box.environment({"PATH": os.defpath, "HOME": str(box.home), "DEA_LOG_LEVEL": "DEBUG"}))
    record = _Record()
    logging.getLogger().addHandler(record)
    module = import_function(checkout.function(FUNCTION).source, FUNCTION)
    begin = time.monotonic()
    result = module.handler(EVENT, Context(FUNCTION, 60))
    handler_s = time.monotonic() - begin
    received = next(line for line in box.audit() if line["event"] == "received")
    ended = next(line for line in box.audit() if line["event"] == "ended")
    said = {
        line.levelname: line.args
        for line in record.records
        if hasattr(line, "exit_code") and isinstance(line.args, tuple)
    }
    _row("event", json.dumps(EVENT))
    _row(
        "request",
        f"{received['request']!r}, as it reached the login node ({box.login_node}) with the key {received['key']!r}",
    )
    _row("stdout", repr(said.get("DEBUG", ("",))[0]))
    _row("stderr", repr(said.get("WARNING", ("",))[0]))
    _row("status", str(ended["status"]))
    _row("result", json.dumps(result))
    _out.print()
    for leg, seconds in (
        ("sandbox started", start_s),
        ("credentials from SSM, decrypted", record.field("credentials read", "duration_s")),
        ("SSH connection, host key checked", record.field("connected", "duration_s")),
        ("command, as the login node saw it", ended["duration_s"]),
        ("handler, all of it", handler_s),
    ):
        _out.print(f"{leg:<36}{seconds * 1000:>8.0f} ms", markup=False)


def _row(label: str, value: str) -> None:
    _out.print(f"{label:<9}{value}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
