"""The receipt: what the dispatcher says of a run, as the last record on stderr, so that the client need not guess.

It tells a command's own status 127 from the dispatcher's, and a finished run from a broken connection. One JSON text
sequence record (RFC 7464): the byte 0x1E, one JSON object, a newline.
"""

from _json import encode_basestring_ascii as _quoted  # pure, and `json` itself costs seven milliseconds

FORMAT = 1
"""The version of the receipt's own format; a reader refuses any other."""

EXITED, SIGNALED, TIMED_OUT, REFUSED, BUSY, LOST = "exited", "signaled", "timed_out", "refused", "busy", "lost"
OUTCOMES = (EXITED, SIGNALED, TIMED_OUT, REFUSED, BUSY, LOST, "running", "cancelled")
"""How a run can stand: it ended by itself, by a signal, by its timeout, never began (`refused`, `busy`), or is followed up."""

_MARK = b"\x1e"
_MAX_BYTES = 4096
_TEXTS = ("run_id", "outcome", "received", "version")
_COUNTS = ("stdout_bytes", "stderr_bytes", "children")


class Receipt:
    """What is known of a run.

    Attributes:
        run_id: The id that the client gave.
        outcome: One of `OUTCOMES`.
        status: The exit status; None while the run has none.
        received: When the request arrived (UTC, ISO 8601, milliseconds).
        started: When the command was started, or None.
        ended: When it ended, or None.
        stdout_bytes: How much it wrote, where the dispatcher counted: None where output went straight to the client.
        stderr_bytes: The same for stderr, without the receipt.
        children: How many processes the command left running in its process group; None if it did not run.
        version: The dispatcher's version.
        audit: The audit chain's head after the last line about this run, `log:seq:sha256`; None by hand, without a log.
    """

    __slots__ = (
        "audit", "children", "ended", "outcome", "received", "run_id", "started", "status", "stderr_bytes", "stdout_bytes",
        "version",
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
        children: "int | None" = None,
        version: str,
        audit: "str | None" = None,
    ) -> None:
        self.run_id = run_id
        self.outcome = outcome
        self.status = status
        self.received = received
        self.started = started
        self.ended = ended
        self.stdout_bytes = stdout_bytes
        self.stderr_bytes = stderr_bytes
        self.children = children
        self.version = version
        self.audit = audit

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
    times = all(fields[name] is None or isinstance(fields[name], str) for name in ("started", "ended", "audit"))
    counts = all(fields[name] is None or (type(fields[name]) is int and fields[name] >= 0) for name in _COUNTS)
    status = fields["status"]
    sound = status is None or (type(status) is int and 0 <= status <= 255)
    if not (texts and times and counts and sound and fields["outcome"] in OUTCOMES):
        return None
    return Receipt(**fields)


def _json(value: "str | int | None") -> str:
    if value is None:
        return "null"
    return _quoted(value) if isinstance(value, str) else str(value)
