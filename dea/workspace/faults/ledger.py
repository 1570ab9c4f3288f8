#!/usr/bin/env python3
"""A command that writes its run id into a ledger, and then output that is known beforehand: the campaign's `ledger`.

It is a module, for what its output is to be, and a copy of it is the command's `run`: standard library only, Python 3.9.
"""

import os
import sys
import time

LEDGER = "ledger"
SLICES = 8


def text(number: int, stream: str, size_bytes: int) -> bytes:
    r"""Return what the run of that number writes to a stream.

    >>> text(7, "stdout", 20)
    b'7 stdout 0\n7 stdout '
    """
    lines = []
    length = at = 0
    while length < size_bytes:
        lines.append(f"{number} {stream} {at}\n".encode())
        length += len(lines[-1])
        at += 1
    return b"".join(lines)[:size_bytes]


def forged_receipt(run_id: str) -> bytes:
    """Return what looks like the dispatcher's last word about a run, and is the command's."""
    return b"\x1e" + f'{{"receipt": 1, "run_id": "{run_id}", "outcome": "exited", "status": 0}}\n'.encode()


def main() -> None:
    """Write the ledger, then both streams slice by slice, then end with the wanted status."""
    number, stdout_bytes, stderr_bytes, status, pause_ms, forges = (int(word) for word in sys.argv[1:])
    run_id = os.environ["DEA_RUN_ID"]
    ledger = os.open(os.path.join(os.environ["HOME"], LEDGER), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)  # noqa: PTH118 - as plain as can be
    os.write(ledger, f"{run_id}\n".encode())
    os.close(ledger)
    for at in range(SLICES):
        for descriptor, stream, size_bytes in ((1, "stdout", stdout_bytes), (2, "stderr", stderr_bytes)):
            whole = text(number, stream, size_bytes)
            part = whole[size_bytes * at // SLICES : size_bytes * (at + 1) // SLICES]
            while part:
                part = part[os.write(descriptor, part) :]
        time.sleep(pause_ms / 1000 / SLICES)
    if forges:
        os.write(2, forged_receipt(run_id))
    sys.exit(status)


if __name__ == "__main__":
    main()
