"""What Lambda says of each invocation in the function's log: `START`, `END` and `REPORT`, or the same as JSON events.

The events are those of the AWS Lambda Developer Guide, "Lambda Telemetry API `Event` schema reference".
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

VERSION = "$LATEST"


@dataclass(frozen=True)
class Report:
    """The figures of one invocation.

    Attributes:
        request_id: The invocation's request id.
        duration_ms: From handing over the event to the answer.
        init_duration_ms: From starting the process until it was ready; None unless this invocation started it.
        memory_size_mb: What the function has.
        max_memory_used_mb: The most that its process has used so far, earlier invocations included.
        status: `success`, `error` or `timeout`.
        error_type: What kind of error the runtime saw; None for none and for what the handler raised.
    """

    request_id: str
    duration_ms: float
    init_duration_ms: float | None
    memory_size_mb: int
    max_memory_used_mb: int
    status: str = "success"
    error_type: str | None = None

    @property
    def billed_duration_ms(self) -> int:
        """What AWS bills: the init is included (since August 2025), the sum rounded up.

        >>> Report("r", 1.2, 100.1, 128, 40).billed_duration_ms
        102
        """
        return math.ceil(round(self.duration_ms + (self.init_duration_ms or 0.0), 3))

    def figures(self) -> dict[str, Any]:
        """Return the figures for a program to read."""
        return {
            "duration_ms": round(self.duration_ms, 2),
            "billed_duration_ms": self.billed_duration_ms,
            "init_duration_ms": None if self.init_duration_ms is None else round(self.init_duration_ms, 2),
            "memory_size_mb": self.memory_size_mb,
            "max_memory_used_mb": self.max_memory_used_mb,
            "status": self.status,
            "error_type": self.error_type,
        }

    def lines(self, *, as_json: bool) -> list[str]:
        """Return what ends an invocation's part of the log."""
        if as_json:
            metrics = {
                "durationMs": round(self.duration_ms, 3),
                "billedDurationMs": self.billed_duration_ms,
                "memorySizeMB": self.memory_size_mb,
                "maxMemoryUsedMB": self.max_memory_used_mb,
            }
            if self.init_duration_ms is not None:
                metrics["initDurationMs"] = round(self.init_duration_ms, 3)
            record = {"requestId": self.request_id, "metrics": metrics, "status": self.status}
            return [_event("platform.report", record | ({"errorType": self.error_type} if self.error_type else {}))]
        parts = [
            f"REPORT RequestId: {self.request_id}",
            f"Duration: {self.duration_ms:.2f} ms",
            f"Billed Duration: {self.billed_duration_ms} ms",
            f"Memory Size: {self.memory_size_mb} MB",
            f"Max Memory Used: {self.max_memory_used_mb} MB",
        ]
        if self.init_duration_ms is not None:
            parts.append(f"Init Duration: {self.init_duration_ms:.2f} ms")
        return [f"END RequestId: {self.request_id}", "\t".join(parts + _status(self.status, self.error_type))]


def start_line(request_id: str, *, as_json: bool) -> str:
    """Return what begins an invocation's part of the log."""
    if as_json:
        return _event("platform.start", {"requestId": request_id, "version": VERSION})
    return f"START RequestId: {request_id} Version: {VERSION}"


def init_line(duration_ms: float, status: str, error_type: str | None, *, as_json: bool) -> str:
    """Return what is said of an init that did not succeed."""
    if as_json:
        record = {"phase": "init", "status": status, "metrics": {"durationMs": round(duration_ms, 3)}}
        return _event("platform.initReport", record | ({"errorType": error_type} if error_type else {}))
    return "\t".join([f"INIT_REPORT Init Duration: {duration_ms:.2f} ms", "Phase: init", *_status(status, error_type)])


def now() -> str:
    """Return the time, as Lambda's log has it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _status(status: str, error_type: str | None) -> list[str]:
    if status == "success":
        return []
    return [f"Status: {status}", *([f"Error Type: {error_type}"] if error_type else [])]


def _event(kind: str, record: dict[str, Any]) -> str:
    return json.dumps({"time": now(), "type": kind, "record": record})
