"""Throws generated requests at the dispatcher: `nox -s fuzz`. Standard library only; ends with status 1 at the first finding.

Most requests are handled in this process, where only the start of the command is replaced: it checks what would have run
against an oracle of its own, regular expressions that share no code with `dea.remote`. Some go through the real process.
The seed is printed, and `--seed` repeats a run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import syslog
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from dea.remote import dispatcher, exchange  # noqa: E402 - importable only now
from dea.remote.decision import Plan  # noqa: E402
from dea.remote.launch import Ended  # noqa: E402
from dea.remote.runs import requests  # noqa: E402
from dea.remote.runs.store import Run  # noqa: E402

STATUSES = {0, 2, 126, 127}
SLOW_S = 2.0
NARROW = r"(?!-)[A-Za-z0-9_./:,=@%+-]{1,256}"
AUTOMATON = [[0, ["az", 1]], [1, ["  09az", 1]]]  # [a-z][ 0-9a-z]*

# Each command: its compiled rules, and for the oracle what each argument may be; None takes anything.
COMMANDS: dict[str, tuple[object, dict[str, str] | None]] = {
    "anything": ("any", None),
    "nothing": ([], {}),
    "clean": (
        [
            {"name": "age", "type": "integer", "minimum": 24, "maximum": 8760, "default": ["72"]},
            {"name": "text", "type": "string", "pattern": "[a-z][ 0-9a-z]*", "automaton": AUTOMATON, "maxLength": 40},
            {"name": "report", "type": "string", "enum": ["names", "-", "two words"]},
            {"name": "tag", "type": "string", "repeat": True},
            {"name": "data", "type": "path", "under": ["/g/data"]},
            {"name": "ratio", "type": "number", "minimum": 0},
            {"name": "dry-run", "type": "boolean"},
            {"name": "token", "type": "string", "secret": True, "environment": "TOKEN"},
        ],
        {
            "--age": r"[1-9][0-9]{1,3}",
            "--text": r"[a-z][ 0-9a-z]{0,39}",
            "--report": r"names|-|two words",
            "--tag": NARROW,
            "--data": r"/g/data(/(?!\.\.?(/|$))[A-Za-z0-9_.:,=@%+-]+)*",
            "--ratio": r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?",
            "--dry-run": "",
        },
    ),
    "quota": (
        [
            {"name": "project", "type": "string", "positional": True, "required": True},
            {"name": "numbers", "type": "integer", "positional": True, "repeat": True},
        ],
        {"0": NARROW, "1": r"-?[0-9]{1,32}"},
    ),
}
PIECES = [
    "", " ", "  ", "'", '"', "\\", "\\\\", "''", '""', "--", "-", "=", ";", "|", "&", "&&", "$", "$(id)", "`id`", "*", "?", "~", "#",
    "{a,b}", "[a]", "!", "\n", "\r", "\t", "\0", "\x1b[31m", "\x7f", "\u0085", "\u202e", "\u2028", "\u200b", "\u00a0", "é", "数", "\U0001f600",
    "../", "/", "./", "..", ".", "/etc/passwd", "--run-id", "--run-id=", "run-0001", "abcdefgh", "--list", "--json", "--describe", "--explain",
    "--version", "--audit-verify", "--detach", "--result", "--cancel", "--rerun", "--history",
    "--since", "--from-stdout", "--prune", "--fault",
    "--key", "--state", "--allow", "--only", "--home", "-I", "-c", "anything", "nothing", "clean", "quota",
    "missing", "unapproved", "single", "--age", "--age=72", "72", "023", "24", "8761", "-5", "1e3", "nan", "٣", "--text", "ab c", "--report",
    "names", "two words", "--tag", "--tag=x", "--data", "/g/data/x", "/g/data/../etc", "/g/database", "--ratio", "0.5", "inf", "--dry-run",
    "--dry-run=false", "--token", "s3cret", "--token=s3cret", "v10", "a" * 300, "9" * 5000, "%s", "%00", "{0}", "\\n", "$'a'", "<(id)", ">", "<",
]  # fmt: skip
VALID = [
    "anything a 'b c'", "nothing", "clean", "clean --age 72 --tag a --tag=b", "clean --text 'ab c' --report \"two words\" --dry-run",
    "clean --data /g/data/x --ratio 0.5", "clean --token s3cret", "quota v10 1 -2", "--run-id run-0001 quota v10", "--explain clean --age 5",
    "--list --json", "--describe clean", "--version", "--run-id run-0001 --detach clean --token s3cret", "--result run-0001",
    "--run-id run-0001 --from-stdout 5 --from-stderr=7 anything a", "--run-id run-0002 --rerun run-0001", "--cancel run-0001 --detach",
    "--history --since 2026-11-24", "--history --json",
]  # fmt: skip


class Finding(Exception):
    """Something that must never happen."""


def main() -> int:
    """Run the fuzzer and print what it did."""
    parser = argparse.ArgumentParser(prog="tests/fuzz", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--requests", type=int, default=200_000, help="in this process (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=500, help="through the real process (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="dea-fuzz-") as folder:
        fuzz = Fuzz(Path(folder))
        begin = time.monotonic()
        try:
            for _ in range(options.requests):
                fuzz.in_process(generated(chance))
            for _ in range(options.processes):
                fuzz.through_process(generated(chance))
        except Finding as finding:
            print(f"FOUND: {finding}")
            return 1
        print(f"{options.requests} requests in this process, {options.processes} through another: {fuzz.tally}")
        print(f"nothing found in {time.monotonic() - begin:.0f} s")
        return fuzz.verify()


def generated(chance: random.Random) -> bytes:
    """Return one request: mostly near to something valid, sometimes noise."""
    kind = chance.random()
    if kind < 0.05:
        return bytes(chance.randrange(256) for _ in range(chance.randrange(40)))
    if kind < 0.06:
        return (chance.choice(VALID) + chance.choice(PIECES) * chance.randrange(70000)).encode(
            "utf-8", "surrogatepass"
        )[:200_000]
    if kind < 0.45:
        return _mutated(chance, chance.choice(VALID)).encode("utf-8", "surrogatepass")
    glue = chance.choice(["", " ", " ", " "])
    words = [_quoted(chance, chance.choice(PIECES)) for _ in range(chance.randrange(1, 9))]
    if chance.random() < 0.7:
        words.insert(0, chance.choice(list(COMMANDS)))
        glue = " "
    return glue.join(words).encode("utf-8", "surrogatepass")


def _mutated(chance: random.Random, text: str) -> str:
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(text) + 1)
        piece = chance.choice(PIECES)
        text = chance.choice(
            [text[:at] + piece + text[at:], text[:at] + text[at + 1 :], text[:at] + piece + text[at + len(piece) :]]
        )
    return text


def _quoted(chance: random.Random, word: str) -> str:
    return chance.choice([word, word, f"'{word}'", f'"{word}"', f"\\{word}", f"''{word}"])


class Fuzz:
    """A checkout, and the dispatcher in front of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkout = folder / "checkout"
        self.home = folder / "home"
        self.home.mkdir()
        self.runs = self.home / ".dea-orchestration" / "runs"
        self.options = ["--key", "fuzz", "--home", str(self.home)]
        self.tally: dict[str, int] = {}
        self.started: tuple[str, tuple[str, ...], dict[str, str]] | None = None
        self.written: dict[int, list[bytes]] = {}
        os.umask(0o022)
        shutil.copytree(
            ROOT / "dea" / "remote", self.checkout / "dea" / "remote", ignore=shutil.ignore_patterns("__pycache__")
        )
        for name, (rules, _) in COMMANDS.items():
            self._add(name, rules)
        (self.checkout / "raijin_scripts" / "unapproved").mkdir()
        (self.checkout / "raijin_scripts" / "unapproved" / "run").write_text("#!/bin/sh\n")
        (self.checkout / "raijin_scripts" / "unapproved" / "run").chmod(0o755)
        (self.checkout / "raijin_scripts" / "single").write_text("#!/bin/sh\n")
        site = self.checkout / "raijin_scripts" / "site.yaml"
        site.write_text("# for the fuzzer\n")
        limits = {"request_burst": 10**9, "requests_per_second": 10**9}
        files = {"site.yaml": hashlib.sha256(site.read_bytes()).hexdigest()}
        site.with_name("site.approved.json").write_text(json.dumps({"format": 1, "files": files, **limits}))
        # The two ends of the process: what would be started, and what would be printed.
        dispatcher.launch = self._launch  # type: ignore[assignment]
        requests.fork_supervisor = self._supervise
        for module in (dispatcher, exchange):
            module.write = lambda descriptor, data: self.written.setdefault(descriptor, []).append(data)
        syslog.syslog = lambda *_: None  # type: ignore[assignment]  # two hundred thousand lines are nobody's business

    def _add(self, name: str, rules: object) -> None:
        folder = self.checkout / "raijin_scripts" / name
        folder.mkdir(parents=True)
        (folder / "run").write_text("#!/bin/sh\n")
        (folder / "run").chmod(0o755)
        digest = hashlib.sha256((folder / "run").read_bytes()).hexdigest()
        document = {
            "format": 1,
            "command": name,
            "summary": "x",
            "arguments": rules,
            "schema": "0" * 64,
            "files": {"run": digest},
        }
        (folder / "approved.json").write_text(json.dumps(document))

    def _supervise(self, run: Run, token: str, plan: Plan, *_: object) -> int:
        """Stand in for a supervisor: the run is over at once."""
        self._launch(plan.program, plan.arguments, plan.environment)
        start: dict[str, object] = {"token": token, "node": "fuzz", "started": "", "lost_after_s": 60}
        outcome = {"format": 1, "outcome": "exited", "status": 0, "started": None, "ended": None}
        outcome |= {"stdout_bytes": 0, "stderr_bytes": 0, "stdout_stored": 0, "stderr_stored": 0, "problems": []}
        run.prepare_start(start)
        run.start(start)
        run.prepare_outcome(token, outcome)
        run.end(token, outcome)
        woken, waker = os.pipe()
        os.close(waker)
        return woken

    def _launch(self, program: str, arguments: tuple[str, ...], environment: dict[str, str], **_: object) -> Ended:
        self.started = (program, arguments, environment)
        return Ended(0, signaled=False, timed_out=False, children=0)

    def in_process(self, raw: bytes) -> None:
        """Handle one request here, and check all that came of it."""
        self.started = None
        self.written = {}
        if self.runs.exists():
            shutil.rmtree(self.runs)  # a run that is there already would start nothing
        os.environb[b"SSH_ORIGINAL_COMMAND"] = raw.replace(b"\0", b"")
        begin = time.monotonic()
        try:
            status = dispatcher.main(str(self.checkout), self.options)
        except BaseException as error:
            raise Finding(f"{raw[:500]!r}: {type(error).__name__}: {error}") from error
        if time.monotonic() - begin > SLOW_S:
            raise Finding(f"{raw[:500]!r} took {time.monotonic() - begin:.1f} s")
        stdout, stderr = (b"".join(self.written.get(descriptor, [])) for descriptor in (1, 2))
        self._check(raw, status, stdout, stderr)
        self.tally["ran" if self.started else f"status {status}"] = (
            self.tally.get("ran" if self.started else f"status {status}", 0) + 1
        )

    def through_process(self, raw: bytes) -> None:
        """Send one request through the real process."""
        if len(raw) >= 128 * 1024:
            return  # execve refuses it (MAX_ARG_STRLEN), before the dispatcher
        done = subprocess.run(
            [sys.executable, "-I", "-S", self.checkout / "dea" / "remote" / "__main__.py", *self.options],
            env={b"PATH": b"/usr/bin:/bin", b"SSH_ORIGINAL_COMMAND": raw.replace(b"\0", b"")},
            input=b"",
            capture_output=True,
            timeout=20,
            check=False,
        )
        if done.returncode not in STATUSES or b"Traceback" in done.stderr or (done.returncode and done.stdout):
            raise Finding(f"{raw[:500]!r}: status {done.returncode}, {done.stderr[:500]!r}")

    def _check(self, raw: bytes, status: int, stdout: bytes, stderr: bytes) -> None:
        where = f"{raw[:500]!r}: status {status}, {stderr[:300]!r}"
        if status not in STATUSES:
            raise Finding(f"{where}: no status that it may give")
        if b"Traceback" in stderr:
            raise Finding(f"{where}: a traceback")
        said = stderr.decode("ascii", "replace").replace("\x1e", "", 1)
        if re.search("[\x00-\x09\x0b-\x1f\x7f]", said):
            raise Finding(f"{where}: a control character in what is said")
        if self.started is None:
            if status == 0 and not stdout:
                raise Finding(f"{where}: success, and nothing ran")
            if status != 0 and (stdout or not stderr.startswith(b"dea-remote: ")):
                raise Finding(f"{where}: a refusal on stdout, or without a reason")
            return
        if status != 0 or stdout:
            raise Finding(f"{where}: ran and refused")
        self._check_started(where, *self.started)

    def _check_started(self, where: str, program: str, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        """Check by an oracle of its own that the schema allows what would have run."""
        folder, _, run = program.rpartition("/")
        name = folder.rpartition("/")[2]
        if program != f"{self.checkout}/raijin_scripts/{name}/run" or run != "run" or name not in COMMANDS:
            raise Finding(f"{where}: {program} would have run")
        if any(re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]", argument) for argument in arguments):
            raise Finding(f"{where}: a control character in {arguments!r}")
        if "--token" in arguments and name != "anything":
            raise Finding(f"{where}: a secret in {arguments!r}")
        if not {"PATH", "HOME", "DEA_COMMAND"} <= set(environment) or "SSH_ORIGINAL_COMMAND" in environment:
            raise Finding(f"{where}: environment {sorted(environment)}")
        allowed = COMMANDS[name][1]
        if allowed is None:
            return
        rest = list(arguments)
        while rest and rest[0].startswith("--") and rest[0] in allowed:
            option = rest.pop(0)
            if allowed[option] and not (rest and re.fullmatch(allowed[option], rest.pop(0), re.ASCII)):
                raise Finding(f"{where}: {option} of {arguments!r}")
        if rest[:1] == ["--"]:
            rest.pop(0)
        for position, value in enumerate(rest):
            rule = allowed.get(str(min(position, 1)))
            if rule is None or not re.fullmatch(rule, value, re.ASCII):
                raise Finding(f"{where}: {value!r} of {arguments!r}")

    def verify(self) -> int:
        """Check the audit log that all of this left."""
        done = subprocess.run(
            [sys.executable, ROOT / "dea" / "remote", "--audit-verify", "--state", self.home / ".dea-orchestration"],
            capture_output=True,
            text=True,
            check=False,
        )
        print(done.stdout.strip())
        return done.returncode


if __name__ == "__main__":
    sys.exit(main())
