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


def dea(mebibytes: str, _: list[str]) -> tuple[float, int, int]:
    """Take it in through the session: seconds, bytes, peak of this process."""
    from dea.raijin import RaijinSession  # noqa: PLC0415 - only this side's process imports it

    counter = Counter()
    with RaijinSession() as session:
        begin = time.perf_counter()
        session.exec_command(f"flood {mebibytes}", max_output=0, stdout_to=counter).check()
        seconds = time.perf_counter() - begin
    return seconds, counter.size_bytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def openssh(mebibytes: str, client: list[str], options: str = "") -> tuple[float, int, int]:
    """Take it in through OpenSSH's client: seconds, bytes, peak of the client."""
    # Connected before the clock starts, as the session is: a master connection would be another process's memory.
    begin = time.perf_counter()
    process = subprocess.Popen(
        [*client, "--", f"{options}flood {mebibytes}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    size_bytes = 0
    while data := process.stdout.read1(1 << 20):
        if size_bytes == 0:
            begin = time.perf_counter()
        size_bytes += len(data)
    if process.wait() != 0 and process.stderr is not None:
        sys.exit(process.stderr.read().decode())
    seconds = time.perf_counter() - begin
    return seconds, size_bytes, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def openssh_durable(mebibytes: str, client: list[str]) -> tuple[float, int, int]:
    """Take in a durable run's output through OpenSSH's client."""
    return openssh(mebibytes, client, f"--run-id bench-{secrets.token_hex(8)} ")


if __name__ == "__main__":
    side, size, *ssh = sys.argv[1:]
    ways = {"dea": dea, "openssh": openssh, "openssh_durable": openssh_durable}
    print(json.dumps(ways[side](size, ssh)))
