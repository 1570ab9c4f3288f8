"""A Runtime API on the loopback interface, as far as AWS's runtime client speaks it.

It reads requests and writes answers, one at a time and without a thread; what they mean is in `lifecycle`. The API is that of
the AWS Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes".
"""

from __future__ import annotations

import re
import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

VERSION = "/2018-06-01"

_ANSWER = re.compile(rf"{VERSION}/runtime/invocation/([^/]+)/(response|error)")
_READ_BYTES = 1 << 16


class Request(BaseHTTPRequestHandler):
    """One request, read whole. Its connection stays open until it is answered, which may be much later.

    Attributes:
        body: The body, up to the server's limit.
        body_bytes: The size of the whole body.
    """

    protocol_version = "HTTP/1.1"  # with 1.0 the client's library waits a second before it sends a large body
    timeout = 10.0
    body = b""
    body_bytes = 0

    def __init__(self, connection: socket.socket, address: Any, keep_bytes: int) -> None:
        self._keep_bytes = keep_bytes
        # No server: nothing of what is used here asks for it.
        super().__init__(connection, address, None)  # type: ignore[arg-type]

    def handle(self) -> None:
        """Read the request.

        Raises:
            OSError: If it does not arrive whole.
        """
        self.raw_requestline = self.rfile.readline(_READ_BYTES + 1)
        if not self.raw_requestline or not self.parse_request():
            raise ConnectionError("no request")
        length = int(self.headers.get("Content-Length") or 0)
        kept = bytearray()
        while self.body_bytes < length:
            part = self.rfile.read(min(_READ_BYTES, length - self.body_bytes))
            if not part:
                raise ConnectionError("the request ended early")
            self.body_bytes += len(part)
            kept += part[: max(0, self._keep_bytes - len(kept))]
        self.body = bytes(kept)

    def finish(self) -> None:
        """Keep the connection: `answer` closes it."""

    def answer(self, status: HTTPStatus, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Answer the request and close its connection. That the client has gone is no error: its end is noticed elsewhere."""
        try:
            self.send_response(status)
            # Without a content type the client's library crashes.
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection without an answer."""
        self.rfile.close()
        self.wfile.close()
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    @property
    def is_next(self) -> bool:
        """Whether it asks for the next invocation: the runtime is ready."""
        return (self.command, self.path) == ("GET", f"{VERSION}/runtime/invocation/next")

    @property
    def is_init_error(self) -> bool:
        """Whether it says that the function could not be loaded."""
        return (self.command, self.path) == ("POST", f"{VERSION}/runtime/init/error")

    @property
    def answered(self) -> tuple[str, bool] | None:
        """The request id of the invocation that this is the answer to, and whether the handler returned; else None."""
        found = _ANSWER.fullmatch(self.path) if self.command == "POST" else None
        return (found[1], found[2] == "response") if found else None


class RuntimeApi:
    """Listens for the runtime client's requests, on a port of its own."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))

    @property
    def address(self) -> str:
        """Where it listens: what `AWS_LAMBDA_RUNTIME_API` is."""
        host, port = self._listening.getsockname()
        return f"{host}:{port}"

    def receive(self, timeout_s: float, *, keep_bytes: int) -> Request | None:
        """Return the next request, or None if none arrives in time.

        Args:
            timeout_s: How long to wait for one.
            keep_bytes: How much of its body is kept.
        """
        self._listening.settimeout(max(timeout_s, 0.001))
        try:
            connection, address = self._listening.accept()
        except TimeoutError:
            return None
        try:
            return Request(connection, address, keep_bytes)
        except (OSError, ValueError):
            connection.close()
            return None

    def close(self) -> None:
        """Stop listening."""
        self._listening.close()
