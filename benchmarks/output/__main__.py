"""A long output: through the session, and through OpenSSH's own client, with and without a run id; peak memory of both ends.

All sides take the same bytes from the same command on the same sandbox, by turns within one run, each in a fresh process,
and throw them away. There is no network but loopback, so that it measures what the programs cost.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Turns, in_turn, ratio
from benchmarks.report import Comparison, Report, Table, main
from dea.workspace.checkout import ROOT
from dea.workspace.sandbox import Sandbox
from dea.workspace.sandbox.one_command import sandbox_with

SIDES = {
    "openssh": "OpenSSH's client, without a run id",
    "openssh_durable": "OpenSSH's client, durable run",
    "dea": "RaijinSession, durable run",
}
PEER = "openssh"
SMALL, LARGE = 64, 1024
HEADINGS = (
    f"{LARGE} MiB", "MiB/s", "of OpenSSH's", f"client's peak, MiB: {SMALL}, {LARGE}", f"node's peak, MiB: {SMALL}, {LARGE}",
)  # fmt: skip
SAMPLE_S = 0.02
FLOOD = """#!/usr/bin/env python3
import os, sys
block = bytes(range(32, 96)) * 1024
for _ in range(int(sys.argv[1]) * 16):
    rest = block
    while rest:
        rest = rest[os.write(1, rest):]
"""
COMMAND = "summary: Writes so many MiB.\narguments: any\n"


def measure(turns: Turns) -> Report:
    """Measure all three, with a short output and a long one."""
    measured: dict[tuple[str, int], list[dict[str, float]]] = {
        (side, size): [] for side in SIDES for size in (SMALL, LARGE)
    }
    with sandbox_with("flood", FLOOD, COMMAND) as box, _client(box) as client:
        for number in turns:
            for size in (SMALL, LARGE):
                for side in in_turn(list(SIDES), number):
                    measured[side, size].append(_measure(box, side, size, client))
    speeds = {side: [one["mib_s"] for one in measured[side, LARGE]] for side in SIDES}
    of_peers = {side: ratio(speeds[side], speeds[PEER]) for side in SIDES}
    rows = []
    for side, title in SIDES.items():
        peaks = [
            ", ".join(f"{statistics.median(one[end] for one in measured[side, size]):.0f}" for size in (SMALL, LARGE))
            for end in ("client_mib", "node_mib")
        ]
        rows.append([title, f"{statistics.median(speeds[side]):.0f}", of_peers[side].text(2), *peaks])
    return Report(
        tables={"outputs": Table(HEADINGS, rows)},
        comparisons=[
            Comparison(f"{LARGE} MiB", title, ratio(speeds["dea"], speeds[side]))
            for side, title in SIDES.items()
            if side != "dea"
        ],
        details=f"the login node is the sandbox's ({box.login_node})",
    )


@contextlib.contextmanager
def _client(box: Sandbox) -> Iterator[list[str]]:
    """Yield the command line of OpenSSH's client that logs in there."""
    with tempfile.TemporaryDirectory(prefix="dea-client-") as temporary:
        folder = Path(temporary)
        stored = box.stored()
        key, known = folder / "key", folder / "known_hosts"
        key.touch(mode=0o600)
        key.write_text(stored["pkey"])
        known.write_text(f"[{box.host}]:{box.port} {stored['hostkey']}")
        # The ciphers that the session asks for, so that both do the same arithmetic.
        options = {
            "UserKnownHostsFile": known,
            "IdentitiesOnly": "yes",
            "Ciphers": "aes128-gcm@openssh.com",
            "Compression": "no",
        }
        settings = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        yield ["ssh", "-F", "none", "-T", "-i", str(key), *settings, "-p", str(box.port), f"{box.user}@{box.host}"]


def _measure(box: Sandbox, side: str, mebibytes: int, client: list[str]) -> dict[str, float]:
    """Take in one output; return its throughput and the peaks of both ends."""
    environment = box.environment({"PATH": os.environ["PATH"], "HOME": str(box.home)})
    over = threading.Event()
    peaks: list[int] = []
    watching = threading.Thread(target=_watch, args=(str(box.checkout), over, peaks))
    watching.start()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.output.client", side, str(mebibytes), *client],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    finally:
        over.set()
        watching.join()
    seconds, peak_kib = json.loads(done.stdout)
    shutil.rmtree(box.home / ".dea-orchestration" / "runs", ignore_errors=True)  # or the disk would fill up
    return {"mib_s": mebibytes / seconds, "client_mib": peak_kib / 1024, "node_mib": max(peaks, default=0) / 1024}


def _watch(checkout: str, over: threading.Event, peaks: list[int]) -> None:
    """Note the peak memory (VmHWM of proc(5)) of the dispatcher's processes, in KiB, all of one moment together."""
    while not over.wait(SAMPLE_S):
        total = 0
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{checkout}/dea/remote".encode() in (folder / "cmdline").read_bytes():
                    status = (folder / "status").read_text()
                    total += next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
        peaks.append(total)


if __name__ == "__main__":
    sys.exit(main("output", measure, __doc__))
