"""The function execute_command, alone in an environment with nothing but its own requirements."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from execute_command import ExecuteCommand, handler

from dea.lambdas import OrchestratorException
from dea.lambdas.events import InvalidEvent
from dea.raijin import RequestRefused
from dea.raijin.testing import FakeSession

CONTEXT = SimpleNamespace(
    aws_request_id="7b1a5a9e",
    invoked_function_arn="arn:aws:lambda:ap-southeast-2:123456789012:function:execute_command",
)
COMMANDS = Path(__file__).parents[3] / "raijin_scripts"


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    """The commands' argument rules, as `inv package` puts them beside the function."""
    approved = {name: json.loads((COMMANDS / name / "approved.json").read_text()) for name in ("quota", "example")}
    commands = {name: {key: one[key] for key in ("arguments", "schema")} for name, one in approved.items()}
    (tmp_path / "dea_commands.json").write_text(json.dumps({"format": 1, "commands": commands}))
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def session(monkeypatch):
    session = FakeSession({"quota": ("v10 1.0 GiB 50.0 %\n", "", 0), "example": ("", "out of order\n", 3)})
    monkeypatch.setattr(ExecuteCommand, "raijin", session)
    return session


ASKED = {"command": "quota", "arguments": {"projects": ["v10", "rs0"], "unit": "TiB"}}


@pytest.mark.parametrize(
    "event",
    [ASKED, {"id": "1", "source": "me", "detail-type": "Run", "detail": ASKED}, {**ASKED, "dea_delivery": {"Id": "x"}}],
)
def test_runs_what_the_event_names(session, event):
    answer = handler(event, CONTEXT)
    assert (answer["stdout"], answer["exit_code"], answer["truncated"]) == ("v10 1.0 GiB 50.0 %\n", 0, False)
    assert session.requests == ["quota --unit TiB v10 rs0"]


def test_the_same_event_runs_once(session):
    event = {"id": "1", "source": "me", "detail-type": "Run", "detail": ASKED}
    assert handler(event, CONTEXT)["run_id"] == handler(event, CONTEXT)["run_id"]
    assert len(session.run_ids_used) == 1


@pytest.mark.usefixtures("session")
def test_a_failure_is_an_error_that_carries_why():
    with pytest.raises(OrchestratorException, match=r"example failed \(exit status 3\): out of order"):
        handler({"command": "example"}, CONTEXT)


@pytest.mark.parametrize(
    ("event", "error", "said"),
    [
        ({}, InvalidEvent, "command is None"),
        ({"command": "quota", "args": "v10"}, InvalidEvent, "unknown fields: 'args'"),
        ({"command": "git_pull"}, RequestRefused, "no argument schema of 'git_pull': name it in function.yaml"),
        ({"command": "--list"}, RequestRefused, "no argument schema"),
        ({"command": "../quota"}, RequestRefused, "no argument schema"),
        ({"command": "quota v10; id"}, RequestRefused, "no argument schema"),
        ({"command": "quota", "arguments": {"projects": "v10;id"}}, RequestRefused, "PROJECTS"),
        ({"command": "quota", "arguments": {"projects": "v10", "unit": "pounds"}}, RequestRefused, "--unit"),
        ({"command": "quota", "arguments": {"projects": "v10", "run-id": "x"}}, RequestRefused, "run-id"),
        ({"command": "quota", "arguments": {"projects": {"a": 1}}}, RequestRefused, "PROJECTS"),
        ({"command": "quota"}, RequestRefused, "PROJECTS"),
    ],
)
def test_nothing_runs_but_what_is_allowed(session, event, error, said):
    with pytest.raises(error, match=said):
        handler(event, CONTEXT)
    assert session.requests == []
