"""Runs a function's invocations as Lambda does: one process, one event after another, ended at its limits.

The phases are those of the AWS Lambda Developer Guide, "Understanding the Lambda execution environment lifecycle".
"""

from __future__ import annotations

import json
import math
import os
import secrets
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from dea.workspace.runtime.api import Request, RuntimeApi
from dea.workspace.runtime.deployed import Deployed
from dea.workspace.runtime.process import FunctionProcess, exit_reason
from dea.workspace.runtime.report import Report, init_line, now, start_line

BOOTSTRAP = Path(__file__).with_name("bootstrap.py")

# AWS Lambda Developer Guide, "Lambda quotas" and "Init phase".
MAX_PAYLOAD_BYTES = 6_291_556
INIT_TIMEOUT_S = 10.0

_MAX_ERROR = 500
_MB = 1024 * 1024
_SAMPLE_S = 0.01
_STDERR = 2


@dataclass(frozen=True)
class Invocation:
    """What came of one event.

    Attributes:
        request_id: Its request id.
        payload: What the handler returned, or the error document; JSON, unless the handler returned other bytes.
        failed: None if the handler returned; `init` if the function could not be loaded; else `handler`.
        report: Its figures.
    """

    request_id: str
    payload: bytes
    failed: Literal["init", "handler"] | None
    report: Report

    @property
    def error(self) -> str:
        """A failure in a line: its type and its message."""
        document = json.loads(self.payload)
        text = " ".join(f"{document.get('errorType')}: {document.get('errorMessage')}".split())
        return text if len(text) <= _MAX_ERROR else f"{text[:_MAX_ERROR]} ..."


@dataclass(frozen=True)
class _End:
    """How a phase ended: with the payload of a failure or a result, or, without one, by being ready for the next event."""

    payload: bytes | None = None
    status: str = "success"
    error_type: str | None = None

    @property
    def failed(self) -> bool:
        return self.payload is not None and self.status != "success"


class Runtime:
    """One function, warm between events. A context manager: at its end nothing of it is left.

    Args:
        deployed: The function.
        log: The descriptor that its log goes to.
        init_timeout_s: How long loading it may take before it is tried again, within the first invocation's time.
    """

    def __init__(self, deployed: Deployed, *, log: int = _STDERR, init_timeout_s: float = INIT_TIMEOUT_S) -> None:
        self._deployed = deployed
        self._log = log
        self._init_timeout_s = init_timeout_s
        self._api = RuntimeApi()
        self._process: FunctionProcess | None = None
        self._ready: Request | None = None  # the runtime's question for the next event
        self._begun = False
        self._peak_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        self._end()
        self._api.close()

    def invoke(self, event: bytes, request_id: str) -> Invocation:
        """Hand over one event, and return what came of it.

        Args:
            event: JSON.
            request_id: The invocation's request id; the same again for a retry of the same event.
        """
        if self._process is not None and self._ready is None and self._until_ready(self._init_timeout_s).failed:
            self._end()  # it ended after its last answer
        init_ms = None
        if not self._begun:
            self._begun = True
            begin = time.monotonic()
            self._start()
            end = self._until_ready(self._init_timeout_s)
            init_ms = _since_ms(begin)
            if end.failed:
                self._say(init_line(init_ms, end.status, end.error_type, as_json=self._as_json))
                self._end()
                if end.status != "timeout":
                    self._say(start_line(request_id, as_json=self._as_json))
                    return self._failed_init(end, request_id, 0.0, init_ms)
                init_ms = None  # Lambda tries once more, and counts it as a part of the invocation
        self._say(start_line(request_id, as_json=self._as_json))
        begin = time.monotonic()
        deadline = begin + self._deployed.timeout_s
        if self._process is None:
            self._start()
            end = self._until_ready(self._deployed.timeout_s, request_id)
            if end.failed:
                self._end()
                return self._failed_init(end, request_id, _since_ms(begin), None)
        assert self._ready is not None  # noqa: S101 - it has just been so
        self._hand_over(self._ready, event, request_id, deadline - time.monotonic())
        self._ready = None
        end = self._until(deadline, request_id)
        duration_ms = _since_ms(begin)
        if end.status == "timeout" or end.error_type is not None:
            self._end()  # what the handler raised leaves the process as it is; all else does not
        report = self._report(request_id, duration_ms, init_ms, end)
        return Invocation(request_id, end.payload or b"", "handler" if end.failed else None, report)

    @property
    def _as_json(self) -> bool:
        return self._deployed.log_format == "JSON"

    def _start(self) -> None:
        root = self._deployed.task_root
        # A package brings all that it needs: what the interpreter has in its site-packages must not be there.
        alone = ("-S", "-B") if root.packaged else ()
        self._process = FunctionProcess(
            [root.interpreter, "-P", *alone, BOOTSTRAP],
            self._deployed.environment(self._api.address),
            root.folder,
            log=self._log,
            obey_modes=root.packaged,
        )
        self._peak_bytes = 0

    def _end(self) -> None:
        if self._ready is not None:
            self._ready.close()
        if self._process is not None:
            self._process.end()
        self._process = self._ready = None

    def _until_ready(self, timeout_s: float, request_id: str | None = None) -> _End:
        return self._until(time.monotonic() + timeout_s, request_id, loading=True)

    def _until(self, deadline: float, request_id: str | None, *, loading: bool = False) -> _End:
        """Serve the runtime until it is ready or has answered, or its process ends or has to."""
        assert self._process is not None  # noqa: S101 - its callers have started it
        while True:
            left_s = deadline - time.monotonic()
            request = self._api.receive(min(_SAMPLE_S, left_s), keep_bytes=MAX_PAYLOAD_BYTES)
            self._peak_bytes = max(self._peak_bytes, self._process.memory_bytes())
            if self._peak_bytes > self._deployed.memory_mb * _MB:
                if request is not None:
                    request.close()
                return self._ended("Runtime exited with error: signal: killed", request_id, "Runtime.OutOfMemory")
            if request is not None:
                end = self._served(request, request_id, loading=loading)
                if end is not None:
                    return end
            elif (status := self._process.status()) is not None:
                return self._ended(exit_reason(status), request_id, "Runtime.ExitError")
            elif left_s <= 0:
                return self._timed_out(request_id)

    def _served(self, request: Request, request_id: str | None, *, loading: bool) -> _End | None:
        """Answer one request; return how the phase ended if it did."""
        if request.is_next and loading:
            self._ready = request
            return _End()
        if request.is_init_error and loading and request.body_bytes <= MAX_PAYLOAD_BYTES:
            request.answer(HTTPStatus.ACCEPTED, b'{"status":"OK"}\n')
            document = json.loads(request.body)
            document["requestId"] = request_id or ""
            return _End(json.dumps(document).encode(), "error", document.get("errorType"))
        if request.answered is None:
            request.answer(HTTPStatus.NOT_FOUND)
            return None
        answered_id, returned = request.answered
        if answered_id != request_id or loading:
            request.answer(HTTPStatus.BAD_REQUEST, b'{"errorType":"InvalidRequestID"}')
            return None
        if request.body_bytes > MAX_PAYLOAD_BYTES:
            request.answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b'{"errorType":"RequestEntityTooLarge"}')
            said = (
                f"Response payload size ({request.body_bytes} bytes) exceeded maximum allowed payload size "
                f"({MAX_PAYLOAD_BYTES} bytes)."
            )
            return _End(_document("Function.ResponseSizeTooLarge", said), "error", "Function.ResponseSizeTooLarge")
        request.answer(HTTPStatus.ACCEPTED, b'{"status":"OK"}\n')
        return _End(request.body, "success" if returned else "error")

    def _ended(self, reason: str, request_id: str | None, error_type: str) -> _End:
        said = f"RequestId: {request_id} Error: {reason}" if request_id else f"Error: {reason}"
        if not self._as_json:
            self._say(said, "Runtime.ExitError")
        return _End(_document("Runtime.ExitError", said), "error", error_type)

    def _timed_out(self, request_id: str | None) -> _End:
        said = f"Task timed out after {self._deployed.timeout_s:.2f} seconds"
        if request_id and not self._as_json:
            self._say(f"{now()} {request_id} {said}")
        return _End(_document("Sandbox.Timedout", f"RequestId: {request_id} Error: {said}"), "timeout")

    def _hand_over(self, ready: Request, event: bytes, request_id: str, left_s: float) -> None:
        ready.answer(
            HTTPStatus.OK,
            event,
            {
                "Lambda-Runtime-Aws-Request-Id": request_id,
                "Lambda-Runtime-Deadline-Ms": str(math.floor((time.time() + left_s) * 1000)),
                "Lambda-Runtime-Invoked-Function-Arn": self._deployed.arn,
                "Lambda-Runtime-Trace-Id": _trace_id(),
            },
        )

    def _failed_init(self, end: _End, request_id: str, duration_ms: float, init_ms: float | None) -> Invocation:
        document = json.loads(end.payload or b"{}")
        if "requestId" in document:
            document["requestId"] = request_id
        report = self._report(request_id, duration_ms, init_ms, end)
        return Invocation(request_id, json.dumps(document).encode(), "init", report)

    def _report(self, request_id: str, duration_ms: float, init_ms: float | None, end: _End) -> Report:
        report = Report(
            request_id=request_id,
            duration_ms=duration_ms,
            init_duration_ms=init_ms,
            memory_size_mb=self._deployed.memory_mb,
            max_memory_used_mb=min(math.ceil(self._peak_bytes / _MB), self._deployed.memory_mb),
            status=end.status,
            error_type=end.error_type,
        )
        self._say(*report.lines(as_json=self._as_json))
        return report

    def _say(self, *lines: str) -> None:
        os.write(self._log, "".join(f"{line}\n" for line in lines).encode())


def _document(error_type: str, message: str) -> bytes:
    return json.dumps({"errorType": error_type, "errorMessage": message}).encode()


def _since_ms(begin: float) -> float:
    return (time.monotonic() - begin) * 1000


def _trace_id() -> str:
    return f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)};Parent={secrets.token_hex(8)};Sampled=0"
