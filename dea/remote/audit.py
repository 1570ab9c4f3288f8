"""The audit log: one JSON line for each decision of the dispatcher, so that what ran, for whom and how it ended can be read.

One file per login node and month, because appending is not atomic between NFS clients. What cannot be recorded does not run.
"""

import fcntl
import os
import time
from _json import (
    encode_basestring_ascii as _quoted,
)  # `json` itself costs seven milliseconds, nearly all of it for `re`

_SAFE_IN_FILE_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")


class Audit:
    """The log of one dispatch.

    Args:
        state: The state folder; made if missing, for its owner alone.
        key: The label of the key that the request came with.
        client: The client's address, as sshd names it.
    """

    def __init__(self, state: str, key: str, client: str) -> None:
        self._folder = os.path.join(state, "audit")
        self._common = {"key": key, "client": client}

    def record(self, event: str, **fields: "object") -> None:
        """Append one line: what happened (`received`, `refused`, `started`, `ended`), when, and the fields given.

        Values are strings, numbers, None, or lists of strings; control characters are escaped.

        Raises:
            OSError: If it cannot be written.
        """
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        line = _line({"time": stamp, "event": event, **self._common, **fields})
        node = "".join(char if char in _SAFE_IN_FILE_NAME else "-" for char in os.uname().nodename)
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        path = os.path.join(self._folder, f"{node}-{stamp[:7]}.jsonl")
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            data = line.encode("ascii")
            if os.write(descriptor, data) != len(data):
                raise OSError("the audit line was written in part only")
        finally:
            os.close(descriptor)


def _line(fields: "dict[str, object]") -> str:
    r"""Return one JSON object and a newline.

    >>> _line({"event": "ended", "status": 0, "arguments": ["a", "b"]})
    '{"event": "ended", "status": 0, "arguments": ["a", "b"]}\\n'
    """
    return "{" + ", ".join(f"{_quoted(name)}: {_value(value)}" for name, value in fields.items()) + "}\n"


def _value(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return repr(value)
