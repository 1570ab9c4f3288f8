"""What the dispatcher costs: with approval, hashing and audit, against a minimal bash dispatcher and against none.

All sides run the same command, by turns within one run: called directly, and through a real sshd on a new connection for
each call. In each round, after them, the dispatcher with and without a run id, with a new id each time; and it is waited a moment
after each durable run, because the process that stays with it is not quite done when the answer is there, and would burden
whoever comes next. Then the dispatcher alone, with 1, 100 and 1,000 commands and with an audit log of 1 and 100 MB.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh

from benchmarks.measuring import Spread, Turns, in_turn, ratio
from benchmarks.report import Comparison, Report, Table, main, version_of
from dea.remote.audit import Audit
from dea.remote.authorized_keys import authorized_keys_line, forced_command
from dea.remote.contract import join
from dea.workspace import approval, interpreters
from dea.workspace.checkout import ROOT
from dea.workspace.sandbox import openssh

BASH = Path(__file__).with_name("minimal.bash")
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
TITLES = {"direct": "called directly", "ssh": "SSH, a new connection"}
Call = Callable[[], object]
Seconds = dict[str, list[float]]


def measure(turns: Turns) -> Report:
    """Measure all sides, each way, and the dispatcher alone."""
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="dea-dispatch-") as temporary:
        folder = Path(temporary)
        with _through_sshd(folder) as by_ssh:
            groups: dict[str, dict[str, Call]] = {}
            for way, calls in (("direct", _direct(folder)), ("ssh", by_ssh)):
                groups[way] = {side: calls[side] for side in PLAIN}
                groups[f"{way} durable"] = {side: calls[side] for side in DURABLE}
            groups["sizes"] = _sizes(folder)
            measured = _measured(groups, turns)
    sizes = measured.pop("sizes")
    rows = [_row(*group.split(), seconds=seconds) for group, seconds in measured.items()]
    rows += [[f"called directly, {name}", "", "", _ms(seconds), "", "", ""] for name, seconds in sizes.items()]
    faster = [
        Comparison(f"a dispatch, {title}", peer, ratio(measured[way][side], measured[way]["dea"]))
        for way, title in TITLES.items()
        for side, peer in (("bash", "minimal bash"), ("none", "no dispatcher"))
    ]
    faster += [
        Comparison(f"a durable run, {title}", "a dispatch", ratio(durable["dea"], durable["durable"]))
        for way, title in TITLES.items()
        for durable in [measured[f"{way} durable"]]
    ]
    return Report(
        tables={"calls": Table(HEADINGS, rows)},
        comparisons=faster,
        details="the login node is the sandbox's (openssh)",
        python=version_of(interpreters.login_node()),
    )


def _measured(groups: dict[str, dict[str, Call]], turns: Turns) -> dict[str, Seconds]:
    """Return the seconds of each call of each group; those of a group come after one another."""
    seconds: dict[str, Seconds] = {group: {name: [] for name in calls} for group, calls in groups.items()}
    for calls in groups.values():
        for call in calls.values():
            call()  # once for nothing: caches
    for number in turns:
        for group, calls in groups.items():
            for name in in_turn(list(calls), number):
                begin = time.perf_counter()
                calls[name]()
                seconds[group][name].append(time.perf_counter() - begin)
                if name == "durable":
                    time.sleep(SETTLE_S)
    return seconds


def _row(way: str, durable: str = "", *, seconds: Seconds) -> list[str]:
    sides = [_ms(seconds[side]) if side in seconds else "" for side in (*PLAIN, "durable")]
    to_bash = "" if durable else _compared(way, seconds["dea"], seconds["bash"])
    to_plain = _compared(way, seconds["durable"], seconds["dea"]) if durable else ""
    return [f"{TITLES[way]}{', with and without a run id' if durable else ''}", *sides, to_bash, to_plain]


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
        "bash": [str(BASH), str(scripts)],
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
    event: tuple[str, dict[str, object]] = ("received", {"request": REQUEST, "run_id": "0" * 32})
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


def _compared(way: str, ones: list[float], others: list[float]) -> str:
    if way == "direct":
        return f"+{(statistics.median(ones) - statistics.median(others)) * 1e3:.1f} ms"
    return f"x {ratio(ones, others).median:.3f}"


def _ms(seconds: list[float]) -> str:
    return Spread.of(seconds).text(1, 1e3)


if __name__ == "__main__":
    sys.exit(main("dispatch", measure, __doc__))
