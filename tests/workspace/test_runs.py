"""`inv runs`, `result`, `rerun` and `cancel` on a sandbox that is kept up, as a person calls them."""

from __future__ import annotations

import datetime
import doctest
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dea.raijin import RaijinSession
from dea.workspace import runs
from dea.workspace.errors import WorkspaceError
from dea.workspace.sandbox import Sandbox, leads_to_a_sandbox, sandbox
from tests.conftest import ROOT

BIN = Path(sys.executable).parent
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def kept() -> Iterator[Sandbox]:
    """A sandbox that is kept up."""
    with sandbox() as box:
        yield box


@pytest.fixture
def session(kept: Sandbox) -> Iterator[RaijinSession]:
    with kept.session() as connected:
        yield connected


@pytest.fixture
def inv(kept: Sandbox) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run inv in a shell that has exported what `inv sandbox` prints."""

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [BIN / "inv", *arguments],
            cwd=ROOT,
            capture_output=True,
            check=False,
            timeout=DEADLINE_S,
            env={**os.environ, **kept.variables},
        )

    return run


def test_what_the_docstrings_show_is_so() -> None:
    done = doctest.testmod(runs)
    assert done.attempted > 0
    assert done.failed == 0


def test_runs_lists_what_ran_newest_first(inv: Any, session: RaijinSession) -> None:
    first = session.exec_command("echo_args 'a b'")
    second = session.exec_command("quota --unit lightyears v10")
    assert second.exit_code == 2  # refused: that is no run
    third = session.exec_command("example")
    done = inv("runs", "--json")
    assert done.returncode == 0, done.stderr
    listed = [run for run in json.loads(done.stdout)["runs"] if run["run_id"] in (first.run_id, third.run_id)]
    assert [run["run_id"] for run in listed] == [third.run_id, first.run_id]
    assert (listed[1]["command"], listed[1]["arguments"]) == ("echo_args", ["a b"])
    assert (listed[1]["outcome"], listed[1]["status"], listed[1]["key"]) == ("exited", 0, "sandbox")


def test_a_profile_of_the_users_does_not_keep_it_from_the_sandbox(
    inv: Any, monkeypatch: pytest.MonkeyPatch, session: RaijinSession
) -> None:
    run_id = session.exec_command("example").run_id
    monkeypatch.setenv("AWS_PROFILE", "nobodys")
    done = inv("result", run_id)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("task", ["remote", "result"])
def test_what_a_terminal_cannot_show_is_no_error(
    inv: Any, monkeypatch: pytest.MonkeyPatch, session: RaijinSession, task: str
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    if task == "remote":
        done = inv("remote", "--name", "echo_args", "--args", "größer")
        assert rb"gr\xf6\xdfer" in done.stdout
    else:
        done = inv("result", session.exec_command("echo_args größer").run_id, "--json")
        assert "größer" in json.loads(done.stdout.decode("utf-8"))["stdout"]
    assert done.returncode == 0, done.stderr


def test_the_table_has_each_run_on_a_line_of_its_own(inv: Any, session: RaijinSession) -> None:
    run_id = session.exec_command("echo_args table " + "x" * 200).run_id
    done = inv("runs")
    head, *lines = done.stdout.decode().splitlines()
    assert re.split(r"  +", head.strip()) == ["when (UTC)", "key", "command", "outcome", "duration", "run id"]
    [line] = [line for line in lines if run_id in line]
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  sandbox  echo_args table x+\.\.\. +exited 0 +\d+\.\d\d s  \S+", line.strip()
    )


def test_since_leaves_out_what_was_earlier(inv: Any, session: RaijinSession) -> None:
    run_id = session.exec_command("echo_args since").run_id

    def listed(since: str) -> list[str]:
        return [run["run_id"] for run in json.loads(inv("runs", "--json", "--since", since).stdout)["runs"]]

    assert run_id in listed("1h")
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    assert listed(tomorrow.isoformat()) == []


def test_result_gives_the_bytes_and_the_status_of_the_run(inv: Any, session: RaijinSession) -> None:
    found = session.exec_command("echo_args 'é' '$x'")
    done = inv("result", found.run_id)
    assert (done.stdout.decode(), done.returncode) == (found.stdout, 0)
    assert f"{found.run_id}: exited, status 0" in done.stderr.decode()
    failed = session.exec_command("example too many")
    assert failed.outcome == "refused"
    assert inv("result", failed.run_id).returncode == 1  # what was refused is no run


def test_result_as_json_has_what_is_known(inv: Any, session: RaijinSession) -> None:
    found = session.exec_command("echo_args a")
    told = json.loads(inv("result", found.run_id, "--json").stdout)
    assert told["run_id"] == found.run_id
    assert (told["outcome"], told["exit_code"], told["stdout"], told["truncated"]) == ("exited", 0, "[a]\n", False)


def test_rerun_is_a_run_of_its_own(inv: Any, session: RaijinSession) -> None:
    first = session.exec_command("echo_args again")
    done = inv("rerun", first.run_id)
    assert (done.stdout, done.returncode) == (b"[again]\n", 0)
    assert f"{first.run_id}-a2: exited, status 0" in done.stderr.decode()
    once_more = json.loads(inv("rerun", first.run_id, "--json").stdout)
    assert (once_more["run_id"], once_more["stdout"]) == (f"{first.run_id}-a3", "[again]\n")


def test_cancel_of_a_run_that_has_ended_says_how_it_ended(inv: Any, session: RaijinSession) -> None:
    run_id = session.exec_command("echo_args done").run_id
    done = inv("cancel", run_id)
    assert (done.stdout.decode(), done.returncode) == (f"{run_id}: exited\n", 0)
    assert json.loads(inv("cancel", run_id, "--json").stdout) == {"run_id": run_id, "outcome": "exited"}


def test_remote_uses_the_sandbox_that_the_shell_leads_to(inv: Any, session: RaijinSession) -> None:
    before = len(session.runs())
    done = inv("remote", "--name", "echo_args", "--args", "here")
    assert (done.stdout, done.returncode) == (b"[here]\n", 0)
    assert len(session.runs()) == before + 1


def test_a_run_that_nobody_knows_is_one_clear_line_and_a_status(inv: Any) -> None:
    done = inv("cancel", "no-such-run")
    assert (done.returncode, done.stdout) == (1, b"")
    said = done.stderr.decode()
    assert said.splitlines()[-1].startswith("inv cancel: ")
    assert "no-such-run" in said.splitlines()[-1]
    assert "Traceback" not in said


@pytest.fixture
def exported(kept: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is such a shell itself."""
    for name, value in kept.variables.items():
        monkeypatch.setenv(name, value)


def on(target: str) -> list[Callable[[str], Any]]:
    """Return each task as a function of a run's id."""
    return [
        lambda run_id: runs.result(run_id, now=False, as_json=False, target=target),
        lambda run_id: runs.result(run_id, now=True, as_json=False, target=target),
        lambda run_id: runs.rerun(run_id, as_json=False, target=target),
        lambda run_id: runs.cancel(run_id, as_json=False, target=target),
    ]


@pytest.mark.parametrize(
    ("run_id", "said"), [("no-such-run", "no run no-such-run"), ("x y", "is no run id"), ("../../x", "is no run id")]
)
@pytest.mark.parametrize("act", on("sandbox"))
def test_what_is_no_run_is_told_so(exported: None, act: Callable[[str], Any], run_id: str, said: str) -> None:
    with pytest.raises(WorkspaceError, match=said):
        act(run_id)


@pytest.mark.parametrize(("target", "said"), [("moon", "choose one of sandbox, aws"), ("aws", "leads to a sandbox")])
def test_a_target_that_is_not_meant_is_told_so(exported: None, target: str, said: str) -> None:
    with pytest.raises(WorkspaceError, match=said):
        runs.show(since="", as_json=False, target=target)
    for act in on(target):
        with pytest.raises(WorkspaceError, match=said):
            act("some-run-id")


def test_without_a_sandbox_nobody_is_asked() -> None:
    for act in on("sandbox"):
        with pytest.raises(WorkspaceError, match="this shell leads to no sandbox: run inv sandbox"):
            act("some-run-id")


def test_a_sandbox_that_has_ended_is_said_in_one_line(kept: Sandbox) -> None:
    gone = {**kept.variables, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    begin = time.monotonic()
    done = subprocess.run(
        [BIN / "inv", "runs"], cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, **gone}
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "127.0.0.1:1" in done.stderr.splitlines()[-1]
    assert time.monotonic() - begin < DEADLINE_S / 2


@pytest.mark.parametrize("text", ["", "x", "5", "5y", "-5m", "9999999d", "2026-13-01", "99999d9"])
def test_what_is_no_time_is_told_so(text: str) -> None:
    with pytest.raises(WorkspaceError, match="is no time"):
        runs.parse_since(text, datetime.datetime.now(datetime.UTC))


def test_a_time_before_all_time_is_told_so() -> None:
    with pytest.raises(WorkspaceError, match="is no time"):
        runs.parse_since("999999w", datetime.datetime.now(datetime.UTC))


def test_only_a_sandboxs_variables_lead_to_one(kept: Sandbox) -> None:
    assert leads_to_a_sandbox(kept.variables)
    assert not leads_to_a_sandbox({})
    assert not leads_to_a_sandbox({**kept.variables, "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"})
    assert not leads_to_a_sandbox({"AWS_ACCESS_KEY_ID": "sandbox"})
