"""One fresh process of the benchmark: takes in one long output by one side's way, prints what it took as JSON.

It is started by the benchmark itself, with the sandbox's environment.
"""

from __future__ import annotations

import json
import resource
import secrets
import subprocess
import sys
import time
from collections.abc import Callable


class Counter:
    """Takes in an output and keeps nothing of it but its length."""

    def __init__(self) -> None:
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        """Count the next bytes."""
        self.size_bytes += len(data)

    def commit(self) -> None:
        """Do nothing."""

    def abort(self) -> None:
        """Do nothing."""


def dea(mebibytes: str, _: list[str]) -> tuple[float, int]:
    """Take it in through the session: seconds, peak of this process."""
    from dea.raijin import RaijinSession  # noqa: PLC0415 - only this side's process imports it

    counter = Counter()
    with RaijinSession() as session:
        seconds = _beyond_nothing(
            lambda size: session.exec_command(f"flood {size}", max_output=0, stdout_to=counter).check(), mebibytes
        )
    if counter.size_bytes != int(mebibytes) * 1024**2:
        sys.exit(f"{counter.size_bytes} bytes came of {mebibytes} MiB")
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def openssh(mebibytes: str, client: list[str], durable: bool = False) -> tuple[float, int]:
    """Take it in through OpenSSH's client: seconds, peak of the client."""

    def take(size: str) -> None:
        options = f"--run-id bench-{secrets.token_hex(8)} " if durable else ""
        # Straight to /dev/null: a pipe and a reader would cost more than the client itself.
        quiet = subprocess.DEVNULL
        subprocess.run([*client, "--", f"{options}flood {size}"], stdout=quiet, stderr=quiet, check=True)

    seconds = _beyond_nothing(take, mebibytes)
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def _beyond_nothing(take: Callable[[str], object], mebibytes: str) -> float:
    """Return how many seconds an output takes longer than none: connecting and starting are not what is measured."""
    seconds = []
    for size in ("0", mebibytes):
        begin = time.perf_counter()
        take(size)
        seconds.append(time.perf_counter() - begin)
    return seconds[1] - seconds[0]


def openssh_durable(mebibytes: str, client: list[str]) -> tuple[float, int]:
    """Take in a durable run's output through OpenSSH's client."""
    return openssh(mebibytes, client, durable=True)


if __name__ == "__main__":
    side, size, *ssh = sys.argv[1:]
    ways: dict[str, Callable[[str, list[str]], tuple[float, int]]] = {
        "dea": dea,
        "openssh": openssh,
        "openssh_durable": openssh_durable,
    }
    print(json.dumps(ways[side](size, ssh)))
