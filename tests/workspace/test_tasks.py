"""The tasks as a person calls them: their menu, their output, their status, and one clear line for each mistake."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dea.workspace import checkout, listing, versions
from tests.conftest import ROOT
from tests.docs.pages import blocks

BIN = Path(sys.executable).parent


def inv(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run inv in the checkout."""
    return subprocess.run(
        [BIN / "inv", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120, **settings
    )  # type: ignore[call-overload, no-any-return]


def test_the_menu_says_what_each_task_is_for() -> None:
    listed = json.loads(inv("--list", "--list-format=json").stdout)["tasks"]
    assert {"new", "install", "run-lambda", "remote", "sandbox", "list", "version"} <= {task["name"] for task in listed}
    assert all(task["help"] for task in listed)


def test_every_option_of_every_task_has_help() -> None:
    from invoke.tasks import Task

    import tasks

    for task in (one for one in vars(tasks).values() if isinstance(one, Task)):
        assert {argument.name for argument in task.get_arguments() if not argument.help} == set(), task.name


@pytest.mark.parametrize("task", ["package", "lock", "run-lambda", "policy", "new"])
def test_a_task_followed_by_help_shows_its_help(task: str) -> None:
    done = inv(task, "--help")
    assert done.returncode == 0, done.stderr
    assert f"Usage: inv[oke] [--core-opts] {task} [--options]" in done.stdout
    assert "--name=STRING" in done.stdout


def test_list() -> None:
    listed = json.loads(inv("list", "--json").stdout)
    assert "example" in {one["name"] for one in listed["functions"]}
    assert all(one["summary"] for kind in listed.values() for one in kind)
    shown = inv("list")
    assert "Lists the commands that are available" in shown.stdout


def test_run_lambda_prints_what_it_set_the_log_and_the_result() -> None:
    done = inv("run-lambda", "--name", "example", "--set", "DB_PASSWORD=hush", "--set", "PLAIN=seen")
    assert done.returncode == 0, done.stderr
    assert "example" in json.loads(done.stdout)["commands"]
    assert "set PLAIN=seen" in done.stderr
    assert "set DB_PASSWORD=(hidden)" in done.stderr
    assert "hush" not in done.stderr + done.stdout
    assert "commands listed" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run-lambda", "--name", "nope"], "choose one of"),
        (
            ["run-lambda", "--name", "example", "--environment", "prod"],
            "env_vars.yaml declares no environment 'prod': choose one of default",
        ),
        (["run-lambda", "--name", "example", "--event", "{x"], "not valid JSON"),
        (["run-lambda", "--name", "example", "--event", "no/such/file"], "neither a readable file"),
        (["run-lambda", "--name", "example", "--set", "x"], "NAME=VALUE"),
        (["run-lambda", "--name", "example", "--target", "moon"], "sandbox, aws"),
        (["remote", "--name", "nope"], "choose one of"),
        (["sandbox", "--login-node", "dropbear"], "openssh, asyncssh"),
        (["new", "--name", "A"], "cannot be a name"),
        (["new", "--name", "example"], "is there already"),
        (["install", "--name", "nope"], "choose one of"),
        (["install-command", "--name", "nope"], "choose one of"),
        (["install-command", "--name", "example"], "example has no install.sh"),
        (["install-command", "--name", "example", "--timeout", "long"], "--timeout 'long' is not a number above 0"),
        (["version", "--set", "x"], "is no version"),
        (["package"], "inv package: --name is missing; inv --help package says what it takes"),
        (["package", "--json"], "inv package: --name is missing"),
        (["package", "--name", "--help"], "inv package: --name is missing"),
        (["keys.make", "--key", "nope"], "inv keys.make: --key 'nope' is none: choose one of run, pull, read"),
        (["keys.install", "--key", "run"], "inv keys.install: --login is missing"),
        (["keys.rotate", "--key", "run", "--login", "x"], "give --yes if it is meant"),
        (["cancel", "--help"], "inv cancel: --id is missing; inv --help cancel says what it takes"),
    ],
)
def test_a_mistake_is_one_clear_line_and_a_status(arguments: list[str], said: str) -> None:
    done = inv(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_reader_that_goes_away_is_no_error_of_ours() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [BIN / "inv", "list", "--json"], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize(("typed", "agreed"), [(b"yes\n", True), (b"no\n", False), (b"\x04", False)])
def test_only_a_yes_at_the_terminal_is_one(typed: bytes, agreed: bool) -> None:
    code = (
        "from dea.workspace.interface import can_ask, is_agreed; raise SystemExit(not (can_ask() and is_agreed('so?')))"
    )
    ours, theirs = pty.openpty()
    try:
        os.write(ours, typed)
        done = subprocess.run([sys.executable, "-c", code], stdin=theirs, stderr=theirs, check=False, timeout=60)
        assert b"so? [y/N]" in os.read(ours, 65536)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == (0 if agreed else 1)


def test_without_any_standard_input_nobody_is_asked() -> None:
    command = ["/bin/sh", "-c", 'exec "$0" git-pull <&-', BIN / "inv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "there is no terminal to confirm that on: give --yes" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_summary_is_shown_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for name, text in {
        "marked": b'"""Does [bold]this[/bold] and [/that]."""\n',
        "broken": b"def (\n",
        "nul": b"\0",
    }.items():
        (tmp_path / f"{name}.py").write_bytes(text)
        found[name] = checkout.Function(name, tmp_path)
    (tmp_path / "command.yaml").write_text("summary: 2026-02-30\n")
    monkeypatch.setattr(checkout, "functions", lambda: found)
    monkeypatch.setattr(checkout, "commands", lambda: {"dated": checkout.Command("dated", tmp_path)})
    listing.show(as_json=False)
    out = capsys.readouterr().out
    assert "Does [bold]this[/bold] and [/that]." in out
    assert "(syntax error in line 1)" in out
    assert "(command.yaml is not valid YAML)" in out


def test_version_says_what_it_changed_to_programs_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(versions, "bump", lambda version: [f"made {version}"])
    versions.show("7.8.9", as_json=True)
    assert json.loads(capsys.readouterr().out)["changed"] == ["made 7.8.9"]


def test_remote_passes_output_and_status_on() -> None:
    done = inv("remote", "--name", "example")
    assert done.returncode == 0
    assert "example" in done.stdout.splitlines()
    done = inv("remote", "--name", "example", "--args", "too many")
    assert (done.returncode, done.stdout) == (2, "")
    assert "takes no arguments" in done.stderr


def test_install_outside_a_virtual_environment_is_refused() -> None:
    from dea.workspace import interpreters

    system = interpreters.login_node()
    code = "import sys; sys.path[:0] = %r; from dea.workspace.installation import install; install('example')" % [
        p for p in sys.path if p
    ]
    done = subprocess.run([system, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no virtual environment" in done.stderr.splitlines()[-1]


def test_the_event_can_come_from_standard_input(tmp_path: Path) -> None:
    from dea.workspace import events

    code = "from dea.workspace import events; print(events.read('-'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input='{"a": 1}',
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "{'a': 1}\n"
    (tmp_path / "event.json").write_text('{"b": 2}')
    assert events.read(str(tmp_path / "event.json")) == {"b": 2}
    assert events.read(' {"c": 3}') == {"c": 3}


def test_the_demo_shows_every_leg_as_the_readme_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dea.workspace.demo"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert '"example"' in done.stdout
    readme = (ROOT / "README.md").read_text("utf-8")
    [transcript] = [block.text for block in blocks(readme) if block.text.startswith("event ")]
    assert of_any_machine(transcript) == of_any_machine(done.stdout)


def of_any_machine(transcript: str) -> str:
    """Return a transcript of the demo without what differs from run to run: ids, times, who and where, which kind of sshd."""
    for pattern, stands_for in (
        (r"example-[0-9a-f]{40}", "RUN_ID"),
        (r" +\d+ ms", " N ms"),
        (r"listed by .* on .*'", "listed by SOMEBODY'"),
        (r"\((openssh|asyncssh)\)", "(KIND)"),
    ):
        transcript = re.sub(pattern, stands_for, transcript)
    return transcript
