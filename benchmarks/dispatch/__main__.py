"""What the dispatcher costs: with approval, hashing and audit, against a minimal bash dispatcher and against none.

All sides run the same command, by turns within one run: called directly, and through a real sshd on a new connection for
each call. Then the dispatcher with and without a run id, by turns again, with a new id each time; apart from the others,
because the process that stays with a durable run is not quite done when the answer is there, and would burden whoever comes
next. Then the dispatcher alone, with 1, 100 and 1,000 commands and with an audit log of 1 and 100 MB.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import getpass
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh

from dea.remote.audit import Audit
from dea.remote.authorized_keys import authorized_keys_line, forced_command
from dea.remote.contract import join
from dea.workspace import approval, interpreters
from dea.workspace.checkout import ROOT
from dea.workspace.sandbox import openssh

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
MIN_ROUNDS = 60
COUNTS = (1, 100, 1000)
LOG_MB = (1, 100)
REQUEST = "work --age 72 --unit GiB"
PLAIN = ("none", "bash", "dea")
DURABLE = ("dea", "durable")
SETTLE_S = 0.05
"""How long who stays with a durable run is given to be done, before the next call is timed."""
HEADINGS = (
    "Way", "no dispatcher, ms", "minimal bash, ms", "dea-remote, ms", "durable run, ms", "dea-remote to bash",
    "durable to plain",
)  # fmt: skip
Call = Callable[[], object]


def main() -> int:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(prog="benchmarks/dispatch", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=80, help=f"at least {MIN_ROUNDS} (default: %(default)s)")
    parser.add_argument("--only", choices=("direct", "ssh", "sizes"), help="measure a part, write nothing")
    options = parser.parse_args()
    if options.rounds < MIN_ROUNDS:
        parser.error(f"--rounds is at least {MIN_ROUNDS}: fewer do not show the spread")
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="dea-dispatch-") as temporary:
        folder = Path(temporary)
        tables = {}
        if options.only in (None, "direct"):
            tables |= _both("direct", _direct(folder), options.rounds)
        if options.only in (None, "ssh"):
            with _through_sshd(folder) as calls:
                tables |= _both("ssh", calls, options.rounds)
        sizes = _measured(_sizes(folder), options.rounds) if options.only in (None, "sizes") else {}
    results = _results(tables, sizes, options.rounds)
    if options.only is None:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    for row in (results["headings"], *results["rows"]):
        print("".join(f"{cell:<50}" if at == 0 else f"{cell:>24}" for at, cell in enumerate(row)))
    return 0


def _checkout(folder: Path, commands: int) -> Path:
    """Make a checkout with an approved command `work`, and others beside it."""
    root = folder / f"checkout-{commands}"
    if root.exists():
        return root
    shutil.copytree(ROOT / "dea" / "remote", root / "dea" / "remote", ignore=shutil.ignore_patterns("__pycache__"))
    work = root / "raijin_scripts" / "work"
    work.mkdir(parents=True)
    (work / "run").write_text("#!/bin/sh\nexit 0\n")
    (work / "run").chmod(0o755)
    (work / "command.yaml").write_text(
        "summary: Does nothing.\ntimeout: 60\narguments:\n  age: {type: integer, minimum: 1}\n"
        "  unit: {enum: [KiB, GiB]}\n  text: {pattern: '[a-z]+'}\n"
    )
    shutil.copy(ROOT / "raijin_scripts" / "site.yaml", root / "raijin_scripts")
    approval.approve("all", root=root)
    for number in range(1, commands):
        shutil.copytree(work, root / "raijin_scripts" / f"work_{number}")
    subprocess.run([interpreters.login_node(), "-m", "compileall", "-q", root / "dea"], check=True)
    return root


def _commands(root: Path, home: Path) -> dict[str, list[str]]:
    """Return the command line of each side."""
    home.mkdir(exist_ok=True)
    scripts = root / "raijin_scripts"
    # By hand-made argv: what `forced_command` joins, without a shell to split it again.
    dea = [str(interpreters.login_node()), "-I", "-S", str(root / "dea" / "remote" / "__main__.py")]
    return {
        "none": [str(scripts / "work" / "run"), *REQUEST.split()[1:]],
        "bash": [str(HERE / "minimal.bash"), str(scripts)],
        "dea": [*dea, "--key", "benchmark", "--home", str(home)],
        "durable": [*dea, "--key", "benchmark", "--home", str(home)],
    }


def _direct(folder: Path) -> dict[str, Call]:
    commands = _commands(_checkout(folder, 1), folder / "home")
    return {side: _starts(command, durable=side == "durable") for side, command in commands.items()}


def _sizes(folder: Path) -> dict[str, Call]:
    calls = {}
    for count in COUNTS:
        root = _checkout(folder, count)
        calls[f"{count:,} commands"] = _starts(_commands(root, folder / f"home-{count}")["dea"])
    for size_mb in LOG_MB:
        home = folder / f"home-log-{size_mb}"
        home.mkdir()
        _fill_log(home, size_mb * 1_000_000)
        calls[f"audit log of {size_mb} MB"] = _starts(_commands(_checkout(folder, 1), home)["dea"])
    return calls


def _fill_log(home: Path, size_bytes: int) -> None:
    """Write an audit log of at least a size, in few large steps."""
    log = Audit(str(home / ".dea-orchestration"), "benchmark", "192.0.2.1")
    event = ("received", {"request": REQUEST, "run_id": "0" * 32})
    written = 0
    while written < size_bytes:
        log.record(*[event] * 5000)
        written = sum(path.stat().st_size for path in (home / ".dea-orchestration" / "audit").iterdir())


def _starts(command: list[str], *, durable: bool = False, by_ssh: bool = False) -> Call:
    quiet = subprocess.DEVNULL

    def call() -> None:
        request = f"--run-id {uuid.uuid4().hex} {REQUEST}" if durable else REQUEST
        environment = {"PATH": "/usr/bin:/bin", "SSH_ORIGINAL_COMMAND": request}
        # ssh goes on looking for options behind the host: a request may begin like one.
        words = [*command, "--", request] if by_ssh else command
        subprocess.run(words, env=environment, stdin=quiet, stdout=quiet, stderr=quiet, check=True)

    return call


@contextlib.contextmanager
def _through_sshd(folder: Path) -> Iterator[dict[str, Call]]:
    """Serve each side by a key of its own, and return a call on a new connection for each."""
    reason = openssh.unusable()
    if reason:
        raise SystemExit(f"OpenSSH's sshd is needed: {reason}")
    home = folder / "home-ssh"
    commands = _commands(_checkout(folder, 1), home)
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(folder / "host_key")
    lines = []
    for side in commands:
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / f"key-{side}")
        (folder / f"key-{side}").chmod(0o600)
        root = _checkout(folder, 1)
        forced = (
            forced_command(str(interpreters.login_node()), str(root), "benchmark", {"--home": str(home)})
            if side in ("dea", "durable")
            else join(commands[side])
        )
        lines.append(authorized_keys_line(key.export_public_key().decode(), forced))
    (folder / "host_key").chmod(0o600)
    (folder / "authorized_keys").write_text("\n".join(lines) + "\n")
    process, port = openssh.start(folder, folder / "host_key", folder / "authorized_keys", home)
    ssh = ["ssh", "-F", "none", "-p", str(port), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    ssh += ["-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"]
    where = f"{getpass.getuser()}@{openssh.HOST}"
    try:
        yield {
            side: _starts([*ssh, "-i", str(folder / f"key-{side}"), where], durable=side == "durable", by_ssh=True)
            for side in commands
        }
    finally:
        process.terminate()
        process.wait()


def _both(way: str, calls: dict[str, Call], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of the plain dispatches of all sides, and those of ours with and without a run id."""
    plain = _measured({side: calls[side] for side in PLAIN}, rounds)
    return {way: plain, f"{way} durable": _measured({side: calls[side] for side in DURABLE}, rounds, SETTLE_S)}


def _measured(calls: dict[str, Call], rounds: int, settle_s: float = 0.0) -> dict[str, list[float]]:
    """Return the seconds of each call, one for each round; by turns, so that what drifts meets all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()  # once for nothing: caches
    names = list(calls)
    for number in range(rounds):
        for name in names if number % 2 else reversed(names):
            begin = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - begin)
            time.sleep(settle_s)
        print(f"\rround {number + 1} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return seconds


def _results(tables: dict[str, dict[str, list[float]]], sizes: dict[str, list[float]], rounds: int) -> dict[str, Any]:
    titles = {"direct": "called directly", "ssh": "SSH, a new connection"}
    rows = []
    for table, seconds in tables.items():
        way, _, durable = table.partition(" ")
        median = {side: statistics.median(of_side) for side, of_side in seconds.items()}
        sides = [_spread(seconds[side]) if side in seconds else "" for side in (*PLAIN, "durable")]
        to_bash = "" if durable else _compared(way, median["dea"], median["bash"])
        to_plain = _compared(way, median["durable"], median["dea"]) if durable else ""
        rows.append([f"{titles[way]}{', with and without a run id' if durable else ''}", *sides, to_bash, to_plain])
    rows += [[f"called directly, {name}", "", "", _spread(seconds), "", "", ""] for name, seconds in sizes.items()]
    return {
        "benchmark": "dispatch",
        "command": "python benchmarks/dispatch",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {
            "cores": os.cpu_count(),
            "architecture": platform.machine(),
            "system": platform.system(),
            "python": _version_of(interpreters.login_node()),
            "login_node": "openssh",
        },
        "rounds": rounds,
        "headings": list(HEADINGS),
        "rows": rows,
    }


def _version_of(python: Path) -> str:
    """Return the version of the interpreter that is measured: not this one's."""
    command = [python, "-c", "import platform; print(platform.python_version())"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _compared(way: str, ours: float, theirs: float) -> str:
    return f"+{(ours - theirs) * 1e3:.1f} ms" if way == "direct" else f"x {ours / theirs:.3f}"


def _spread(seconds: list[float]) -> str:
    first, median, third = (value * 1e3 for value in statistics.quantiles(seconds, n=4, method="inclusive"))
    return f"{median:.1f} ({first:.1f} to {third:.1f})"


if __name__ == "__main__":
    sys.exit(main())
