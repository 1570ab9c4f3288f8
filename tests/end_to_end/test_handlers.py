"""Handlers against real login nodes, as Lambda calls them: twice, at its limit, and again in a process that it kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dea.lambdas import RaijinCommand, warm
from dea.workspace.sandbox import Sandbox
from tests.conftest import ROOT
from tests.end_to_end.tallying import Context, invoke

DEADLINE_S = 60.0


@pytest.fixture
def tally(tmp_path: Path) -> Path:
    """The file in which runs are counted."""
    path = tmp_path / "tally"
    path.touch()
    return path


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start(box: Sandbox, function: str, event: Any, request_id: str, timeout_s: float = 300) -> subprocess.Popen[str]:
    """Call a handler in a process of its own, which leads to the sandbox."""
    asked = {"function": function, "event": event, "request_id": request_id, "timeout_s": timeout_s}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.end_to_end.tallying", json.dumps(asked)],
        cwd=ROOT,
        env=box.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    said, _ = process.communicate(timeout=DEADLINE_S)
    told: dict[str, Any] = json.loads(said)
    return told


@pytest.fixture
def here(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """The sandbox, to which this process itself leads; what it keeps is closed at the end."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in box.environment({}).items():
        monkeypatch.setenv(name, value)
    yield box
    warm.close()


def test_a_doubled_delivery_with_a_poisoned_record_runs_each_once_and_reports_the_bad_one(
    here: Sandbox, tally: Path, tmp_path: Path
) -> None:
    poison = tmp_path / "poison"
    poison.write_text("3")
    records = [
        {
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:ap-southeast-2:000000000000:scenes",
            "messageId": f"{name}-{uuid.uuid4()}",
            "body": json.dumps([str(tally), name, *gate]),
        }
        for name, gate in (("a", ()), ("bad", (str(poison),)), ("b", ()), ("c", ()))
    ]
    bad = records[1]["messageId"]
    expected = {"result": {"batchItemFailures": [{"itemIdentifier": bad}]}}
    with ThreadPoolExecutor(2) as pool:  # at the same time, and then once more in another batch
        both = pool.map(lambda number: invoke("Each", {"Records": records}, f"request-{number}"), range(2))
        assert list(both) == [expected, expected]
    assert invoke("Each", {"Records": records[:0:-1]}, "request-3") == expected
    assert sorted(tally.read_text().split()) == ["a", "b", "bad", "c"]


def test_a_handler_that_lambda_ended_is_retried_into_the_one_run(here: Sandbox, tally: Path, tmp_path: Path) -> None:
    gate, request_id = tmp_path / "gate", str(uuid.uuid4())
    event = {"file": str(tally), "name": "once", "gate": str(gate)}
    first = start(here, "Once", event, request_id)
    until(lambda: tally.read_text() == "once\n")
    first.kill()  # as Lambda does at the timeout: without a word
    first.communicate()
    retried = start(here, "Once", event, request_id)
    gate.write_text("7")
    result = answer(retried)["result"]
    assert (result["exit_code"], result["stdout"], result["truncated"]) == (7, "counted once\n", False)
    assert tally.read_text() == "once\n"
    assert invoke("Once", event, request_id)["result"] == {
        **result,
        "duration_s": pytest.approx(0, abs=DEADLINE_S),
    }
    assert tally.read_text() == "once\n"
    assert invoke("Once", event, "another-request")["result"]["run_id"] != result["run_id"]
    assert tally.read_text() == "once\nonce\n"


def test_a_handler_near_its_limit_lets_the_run_go_on_and_the_retry_gets_its_result(
    here: Sandbox, tally: Path, tmp_path: Path
) -> None:
    gate, request_id = tmp_path / "gate", str(uuid.uuid4())
    event = {"file": str(tally), "name": "long", "gate": str(gate)}
    begin = time.monotonic()
    told = invoke("Once", event, request_id, timeout_s=5)
    assert told["errorType"] == "CommandTimeout", told
    assert time.monotonic() - begin < DEADLINE_S / 2
    assert f"inv result {told['runId']}" in told["errorMessage"]
    gate.write_text("0")
    result = invoke("Once", event, request_id)["result"]
    assert (result["exit_code"], result["stdout"], result["run_id"]) == (0, "counted long\n", told["runId"])
    assert tally.read_text() == "long\n"


def test_a_run_is_started_by_one_function_and_asked_for_by_another(here: Sandbox, tally: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    event = {"file": str(tally), "name": "later", "gate": str(gate)}
    started = invoke("Start", event, "start-1")["result"]
    assert invoke("Start", event, "start-1")["result"] == started
    assert invoke("Result", started, "result-1")["errorType"] == "StillRunning"
    gate.write_text("0")

    def ended() -> bool:
        return "result" in invoke("Result", started, "result-2")

    until(ended)
    assert invoke("Result", started, "result-3")["result"]["stdout"] == "counted later\n"
    assert tally.read_text() == "later\n"


class Warm(RaijinCommand):
    """Tells which connection it has used."""

    COMMAND_NAME = "warm"

    def command(self) -> Any:
        assert self.raijin.exec_command("echo_args a").check().stdout == "[a]\n"
        return self.raijin.ssh_client.get_transport()


def test_a_warm_invocation_uses_the_connection_of_the_one_before(here: Sandbox) -> None:
    first = Warm.handler({}, Context("Warm", "warm-1", 60))
    assert first.is_active()
    assert Warm.handler({}, Context("Warm", "warm-2", 60)) is first


def test_a_connection_that_died_in_between_is_replaced(here: Sandbox) -> None:
    first = Warm.handler({}, Context("Warm", "warm-3", 60))
    first.sock.shutdown(2)  # as a login node that was restarted while Lambda had frozen the process
    until(lambda: not first.is_active())
    second = Warm.handler({}, Context("Warm", "warm-4", 60))
    assert second is not first
    assert second.is_active()


def inv(box: Sandbox, *arguments: str) -> subprocess.Popen[bytes]:
    command = [Path(sys.executable).parent / "inv", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **box.variables}, **pipes)


def test_a_person_follows_and_ends_what_a_function_has_started(here: Sandbox, tally: Path, tmp_path: Path) -> None:
    event = {"file": str(tally), "name": "endless", "gate": str(tmp_path / "gate")}
    run_id = invoke("Start", event, str(uuid.uuid4()))["result"]["run_id"]
    until(lambda: tally.read_text() == "endless\n")
    looked = inv(here, "result", run_id, "--now")
    out, _ = looked.communicate(timeout=DEADLINE_S)
    assert (out, looked.returncode) == (b"counted endless\n", 75)
    following = inv(here, "result", run_id)
    assert following.stdout is not None
    assert following.stdout.readline() == b"counted endless\n"  # as it comes, not at the end
    ended = inv(here, "cancel", run_id)
    out, _ = ended.communicate(timeout=DEADLINE_S)
    assert (out, ended.returncode) == (f"{run_id}: cancelled\n".encode(), 0)
    following.communicate(timeout=DEADLINE_S)
    assert following.returncode == 143
