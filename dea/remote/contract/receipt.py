"""The receipt: what the dispatcher says of a run, as the last record on stderr, so that the client need not guess.

It tells a command's own status 127 from the dispatcher's, and a finished run from a broken connection. One JSON text
sequence record (RFC 7464): the byte 0x1E, one JSON object, a newline.
"""

from _json import encode_basestring_ascii as _quoted  # pure, and `json` itself is dear to import

FORMAT = 1
"""The version of the receipt's own format; a reader refuses any other."""

EXITED, SIGNALED, TIMED_OUT, REFUSED, BUSY = "exited", "signaled", "timed_out", "refused", "busy"
RUNNING, CANCELLED, LOST = "running", "cancelled", "lost"
OUTCOMES = (EXITED, SIGNALED, TIMED_OUT, CANCELLED, REFUSED, BUSY, RUNNING, LOST)
"""How a run can stand: it ended by itself, by a signal, by its timeout, by `--cancel`; it never began (`refused`, `busy`);
it goes on (`running`); or nobody knows, and nobody guesses (`lost`)."""

_MARK = b"\x1e"
_MAX_BYTES = 4096
_TEXTS = ("run_id", "outcome", "received", "version")
_COUNTS = ("stdout_bytes", "stderr_bytes", "stdout_stored", "stderr_stored", "children")
_TIMES = ("started", "ended", "audit")


class Receipt:
    """What is known of a run.

    Attributes:
        run_id: The id that the client gave.
        outcome: One of `OUTCOMES`.
        status: The exit status; None while the run has none.
        received: When the request arrived (UTC, ISO 8601, milliseconds).
        started: When the command was started, or None.
        ended: When it ended, or None.
        stdout_bytes: How much it wrote in all, up to now while it runs; None where output went straight to the client.
        stderr_bytes: The same for stderr, without the receipt.
        stdout_stored: How much of it is kept: less than `stdout_bytes` where it was longer than is kept, or has been
            pruned. None where nothing is kept.
        stderr_stored: The same for stderr.
        children: How many processes the command left running in its process group; None if it did not run.
        version: The dispatcher's version.
        audit: The audit chain's head after the last line about this run, `log:seq:sha256`; None by hand, without a log.
        attempt: Which attempt of its request this run is, from 1 on.
        attempts: How many attempts of that request there have been.
        replayed: Whether the run was there before this request, which then started nothing.
        retry_after_s: For `busy`: after how many seconds to try again, or None where nobody can tell.
    """

    __slots__ = (
        "attempt", "attempts", "audit", "children", "ended", "outcome", "received", "replayed", "retry_after_s", "run_id",
        "started", "status", "stderr_bytes", "stderr_stored", "stdout_bytes", "stdout_stored", "version",
    )  # fmt: skip

    def __init__(
        self,
        run_id: str,
        outcome: str,
        status: "int | None",
        *,
        received: str,
        started: "str | None" = None,
        ended: "str | None" = None,
        stdout_bytes: "int | None" = None,
        stderr_bytes: "int | None" = None,
        stdout_stored: "int | None" = None,
        stderr_stored: "int | None" = None,
        children: "int | None" = None,
        version: str,
        audit: "str | None" = None,
        attempt: int = 1,
        attempts: int = 1,
        replayed: bool = False,
        retry_after_s: "float | None" = None,
    ) -> None:
        self.run_id = run_id
        self.outcome = outcome
        self.status = status
        self.received = received
        self.started = started
        self.ended = ended
        self.stdout_bytes = stdout_bytes
        self.stderr_bytes = stderr_bytes
        self.stdout_stored = stdout_stored
        self.stderr_stored = stderr_stored
        self.children = children
        self.version = version
        self.audit = audit
        self.attempt = attempt
        self.attempts = attempts
        self.replayed = replayed
        self.retry_after_s = retry_after_s

    def __repr__(self) -> str:
        return f"Receipt({self.run_id!r}, {self.outcome!r}, {self.status!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Receipt):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # a value that is compared, never a key

    def encode(self) -> bytes:
        r"""Return the record.

        >>> Receipt("a-run-id", "exited", 0, received="2026-01-01T00:00:00.000Z", version="1").encode()[:15]
        b'\x1e{"receipt": 1,'
        """
        fields = ", ".join(f'"{name}": {_json(getattr(self, name))}' for name in self.__slots__)
        return _MARK + f'{{"receipt": {FORMAT}, {fields}}}\n'.encode("ascii")


def take_receipt(stderr: bytes, run_id: str) -> "tuple[bytes, Receipt | None]":
    r"""Take the last record off what a run wrote to stderr.

    Only the last one counts, because a command can print what looks like a receipt but the dispatcher speaks after it. Ask
    only once the channel's exit status is there: before that, the last record may be the command's.

    Args:
        stderr: All of it.
        run_id: The id that the request was sent with.

    Returns:
        stderr without the record, and the receipt; or all of stderr and None if the last record is no receipt of this run.

    >>> receipt = Receipt("a-run-id", "exited", 0, received="2026-01-01T00:00:00.000Z", version="1")
    >>> take_receipt(b"warning\n" + receipt.encode(), "a-run-id")
    (b'warning\n', Receipt('a-run-id', 'exited', 0))
    """
    begin = stderr.rfind(_MARK)
    end = stderr.find(b"\n", begin) + 1
    if begin < 0 or end == 0 or end - begin > _MAX_BYTES:
        return stderr, None
    receipt = _parsed(stderr[begin + 1 : end])
    if receipt is None or receipt.run_id != run_id:
        return stderr, None
    return stderr[:begin] + stderr[end:], receipt


def _parsed(record: bytes) -> "Receipt | None":
    """Return the receipt in a record, or None if it is anything else: every field must be there and of its type."""
    import json  # only the client gets here

    try:
        fields = json.loads(record)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or fields.pop("receipt", None) != FORMAT or set(fields) != set(Receipt.__slots__):
        return None
    texts = all(isinstance(fields[name], str) for name in _TEXTS)
    times = all(fields[name] is None or isinstance(fields[name], str) for name in _TIMES)
    counts = all(fields[name] is None or (type(fields[name]) is int and fields[name] >= 0) for name in _COUNTS)
    numbered = all(type(fields[name]) is int and fields[name] >= 1 for name in ("attempt", "attempts"))
    wait = fields["retry_after_s"]
    waits = wait is None or (type(wait) in (int, float) and 0 <= wait < float("inf"))
    status = fields["status"]
    sound = status is None or (type(status) is int and 0 <= status <= 255)
    typed = texts and times and counts and numbered and waits and sound and type(fields["replayed"]) is bool
    if not typed or fields["outcome"] not in OUTCOMES:
        return None
    return Receipt(**fields)


def _json(value: "str | bool | float | None") -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else repr(value)
