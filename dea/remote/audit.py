"""The audit log: one JSON line for each decision of the dispatcher, so that what ran, for whom and how it ended can be read.

One file per login node and month, because appending is not atomic between NFS clients. Each line holds the SHA-256 of the
line before it, so that nothing can be changed or taken out unseen while somebody remembers a later head; receipts carry
it. What cannot be recorded does not run. Reading and checking the log is in `dea.remote.audit_check`. The format is
described in docs/reference/audit.md.
"""

import fcntl
import os
import stat
import time

from dea.remote.approval import unsafe
from dea.remote.digest import sha256
from dea.remote.plain_json import encode

NO_LINE = "0" * 64
"""What the very first line of a node's log names as the hash of the line before it."""

LOCK_TIMEOUT_S = 10.0
"""How long to wait for the log's lock: a line is written in under a millisecond, so whoever holds it longer is stuck."""

SYSLOG = "/dev/log"
"""Where the system's log listens."""

SYSLOG_TIMEOUT_S = 0.5
"""How long to wait for the system's log, each time: a run is on record without it."""

INFO, ERROR = 6, 3
"""syslog(3)'s LOG_INFO and LOG_ERR."""

_SAFE_IN_FILE_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
_BLOCK_BYTES = 4096
_MAX_LOST_BYTES = 512
_AUTHPRIV = 10 * 8  # syslog(3)'s LOG_AUTHPRIV
_MAX_SYSLOG_BYTES = 1000  # RFC 5424 asks receivers for no more than 2048, and many a relay cuts at 1024


class Audit:
    """The log of one dispatch.

    Args:
        state: The state folder; made if missing, for its owner alone.
        key: The label of the key that the request came with.
        client: The client's address, as sshd names it.
        node: The login node's name, which names the file.
    """

    def __init__(self, state: str, key: str, client: str, node: "str | None" = None) -> None:
        self._folder = os.path.join(state, "audit")
        self._common = {"key": key, "client": client}
        self._node = node_in_file_name(node or os.uname().nodename)
        self.head: "str | None" = None
        """The chain's head after this dispatch's last line, `log:seq:sha256`."""

    def record(self, *events: "tuple[str, dict[str, object]]") -> None:
        """Append one line for each event: what happened, when, and the fields given.

        The values are strings, numbers, None, or lists of strings; control characters are escaped. The lines of one call
        stand together.

        Raises:
            OSError: If they cannot be written; then none of them stays.
        """
        stamp = timestamp(time.time())
        descriptor, name = self._open_locked(f"{self._node}-{stamp[:7]}")
        try:
            size_bytes = os.fstat(descriptor).st_size
            seq, head, torn = self._end(descriptor, size_bytes, name)
            lines = []
            if torn:
                # A process or the machine ended in the middle of a write. What it left is no line; the chain says so.
                lost = torn[:_MAX_LOST_BYTES].decode("utf-8", "backslashreplace")
                events = (("recovered", {"lost": lost, "lost_bytes": len(torn)}), *events)
            for event, fields in events:
                seq += 1
                line = encode({"seq": seq, "time": stamp, "event": event, **self._common, **fields, "prev": head})
                head = sha256(line).hexdigest()
                lines.append(line)
            _append(descriptor, b"\n".join(lines) + b"\n", size_bytes - len(torn), torn)
        finally:
            os.close(descriptor)
        self.head = f"{name}:{seq}:{head}"
        tell_syslog(*lines, f"audit head {self.head}".encode("ascii"))

    def _open_locked(self, name: str) -> "tuple[int, str]":
        """Open and lock the log to write to; return its descriptor and name.

        It is this month's or, if the clock was set back, the newest that there is: a line in an older file, after a newer
        one has begun, would break the chain. So the look is taken under the lock, too: while it was waited for at a month's
        end, another process may have begun the next file.
        """
        try:
            descriptor = self._open(name, 0)
        except FileNotFoundError:
            make_private_folder(self._folder)
            name = max([name, *self._names()])
            descriptor = self._open(name, os.O_CREAT)
        while True:
            try:
                _lock(descriptor)
                self._refuse_unsafe(descriptor, name)
                newest = max([name, *self._names()])
            except BaseException:
                os.close(descriptor)
                raise
            if newest == name:
                return descriptor, name
            os.close(descriptor)
            name = newest
            descriptor = self._open(name, 0)

    def _open(self, name: str, create: int) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | create
        return os.open(os.path.join(self._folder, f"{name}.jsonl"), flags, 0o600)

    def _refuse_unsafe(self, descriptor: int, name: str) -> None:
        """Raise an `OSError` if anybody but the account could have written the log or put another in its place."""
        trusted = (0, os.getuid())
        status = os.fstat(descriptor)
        problem = unsafe(status, trusted, stat.S_ISREG) if status.st_nlink else "was removed just now"
        if problem:
            raise OSError(0, f"{name}.jsonl {problem}")
        for folder in (self._folder, os.path.dirname(self._folder)):
            problem = unsafe(os.stat(folder), trusted, stat.S_ISDIR)
            if problem:
                raise OSError(0, f"{folder} {problem}")

    def _names(self) -> "list[str]":
        return [entry[: -len(".jsonl")] for entry in os.listdir(self._folder) if is_log_of(entry, self._node)]

    def _end(self, descriptor: int, size_bytes: int, name: str) -> "tuple[int, str, bytes]":
        """Return the last whole line's number and hash, and what stands after it: a fragment, or nothing.

        Reads from the end, so that the cost does not grow with the file.
        """
        tail, begin = b"", size_bytes
        while begin > 0 and tail.count(b"\n") < 2:
            # Doubling: a line can be as long as a request with every character escaped.
            begin = max(0, begin - max(_BLOCK_BYTES, len(tail)))
            tail = os.pread(descriptor, size_bytes - begin, begin)
        whole, _, torn = tail.rpartition(b"\n")
        if not whole:
            return 0, self._head_before(name), torn
        last = whole.rpartition(b"\n")[2]
        return sequence_number(last), sha256(last).hexdigest(), torn

    def _head_before(self, name: str) -> str:
        """Return the hash of the last line of this node's newest earlier file: a new month continues the chain."""
        earlier = max([other for other in self._names() if other < name], default=None)
        if earlier is None:
            return NO_LINE
        descriptor = self._open(earlier, 0)
        try:
            # Whoever has it may be writing its last line; whoever comes after will see that this file has begun.
            _lock(descriptor)
            return self._end(descriptor, os.fstat(descriptor).st_size, earlier)[1]
        finally:
            os.close(descriptor)


def timestamp(seconds: float) -> str:
    """Return a time in UTC as ISO 8601 with milliseconds.

    >>> timestamp(0.25)
    '1970-01-01T00:00:00.250Z'
    """
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"


def is_log_of(entry: str, node: str) -> bool:
    """Tell whether a file's name is that of a log of this node: `NODE-YYYY-MM.jsonl`.

    >>> is_log_of("gadi-login-01-2026-11.jsonl", "gadi-login-01"), is_log_of("gadi-login-01-2026-11.jsonl", "gadi")
    (True, False)
    >>> is_log_of("gadi-login-01-archive.jsonl", "gadi-login-01")
    False
    """
    year, hyphen, month = entry[len(node) + 1 : -len(".jsonl")].partition("-")
    sound = len(year) == 4 and len(month) == 2 and (year + month).isdigit() and (year + month).isascii()
    return sound and bool(hyphen) and entry == f"{node}-{year}-{month}.jsonl"


def sequence_number(line: bytes) -> int:
    """Return the number at a line's beginning, or 0 if there is none.

    >>> sequence_number(b'{"seq": 12, "time": ...'), sequence_number(b"damaged")
    (12, 0)
    """
    digits = line[len(b'{"seq": ') : line.find(b",")]
    return int(digits) if line.startswith(b'{"seq": ') and digits.isdigit() and len(digits) < 19 else 0


def node_in_file_name(node: str) -> str:
    """Return a login node's name as it stands in a file's name.

    >>> node_in_file_name("gadi-login-01.nci.org.au")
    'gadi-login-01-nci-org-au'
    """
    return "".join(char if char in _SAFE_IN_FILE_NAME else "-" for char in node)


def make_private_folder(folder: str) -> None:
    """Make a folder and those above it that are missing, for their owner alone."""
    above = os.path.dirname(folder)
    if not os.path.isdir(above):
        make_private_folder(above)
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        pass  # another dispatch was first


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise OSError(0, f"another process has held its lock for {LOCK_TIMEOUT_S:.0f} s") from None
        time.sleep(0.002)


def _append(descriptor: int, data: bytes, position: int, torn: bytes) -> None:
    """Write all of it over the fragment that stands at the end or, on a full disk say, leave everything as it was.

    Over it, not after taking it out: a kill in between would lose the fragment without a word.
    """
    written = 0
    try:
        written = os.pwrite(descriptor, data, position)
    finally:
        if written != len(data):
            os.ftruncate(descriptor, position + len(torn))
            if written:
                os.pwrite(descriptor, torn[:written], position)
    if written != len(data):
        raise OSError(0, "no room for a whole line")
    if len(torn) > len(data):
        os.ftruncate(descriptor, position + len(data))


def tell_syslog(*lines: bytes, severity: int = INFO) -> None:
    """Send lines to the system's log, where the account cannot change them; too long ones by their beginning.

    Not by syslog(3), which waits for ever when the system's log is stuck. A line there is worth a short wait and no more:
    one of the audit log that was not sent is on disk, and a later head vouches for it.

    Args:
        lines: Each for a datagram of its own.
        severity: `INFO` or `ERROR`.
    """
    import _socket  # the C half of `socket`, whose Python half is dear to import

    said = [text if len(text) <= _MAX_SYSLOG_BYTES else text[:_MAX_SYSLOG_BYTES] + b"..." for text in lines]
    when = time.strftime("%b %e %H:%M:%S").encode("ascii")
    log = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
    try:
        log.settimeout(SYSLOG_TIMEOUT_S)
        log.connect(SYSLOG)
        for text in said:
            log.send(b"<%d>%b dea-remote[%d]: %b" % (_AUTHPRIV + severity, when, os.getpid(), text))  # RFC 3164
    except OSError:
        pass  # there is none, or it takes no more
    finally:
        log.close()
