"""The function git_pull, alone in an environment with nothing but its own requirements."""

import json

import pytest
from git_pull import GitPullCommand, handler

from dea.lambdas import OrchestratorException
from dea.raijin.testing import FakeSession

REPORT = {"report": 1, "old": "a" * 40, "new": "b" * 40, "switched": True, "commands": {}, "duration_s": 2.5}


def run(*answer):
    command = GitPullCommand()
    command.raijin = session = FakeSession({"git_pull": answer})
    return command.run(), session


def test_returns_the_report():
    result, session = run(json.dumps(REPORT), "git_pull: ...\n", 0)
    assert result == REPORT
    assert session.requests == ["git_pull"]


def test_an_update_that_failed_is_an_error_that_carries_why():
    with pytest.raises(OrchestratorException, match=r"greet: its install\.sh failed") as raised:
        run(json.dumps({**REPORT, "switched": False}), "git_pull: greet: its install.sh failed\n", 1)
    assert raised.value.exit_code == 1


def test_an_update_that_was_ended_after_its_switch_is_not_said_to_have_changed_nothing():
    with pytest.raises(OrchestratorException, match=f"^git_pull failed there; {'b' * 40} serves all the same"):
        run(json.dumps(REPORT), "", 124)
    with pytest.raises(OrchestratorException, match="what served before goes on serving"):
        run(json.dumps({**REPORT, "switched": False}), "", 1)


def test_busy_is_an_error_too():
    with pytest.raises(OrchestratorException, match="another update is going on") as raised:
        run("", "git_pull: another update is going on\n", 75)
    assert raised.value.exit_code == 75


@pytest.mark.parametrize("stdout", ["", "example\ngreet\n", "[]", '{"new": 1}'])
def test_the_answer_of_another_forced_command_is_no_report(stdout):
    with pytest.raises(OrchestratorException, match="is the key's forced command the right one"):
        run(stdout, "", 0)


def test_the_handler_takes_whatever_event(monkeypatch):
    monkeypatch.setattr(GitPullCommand, "raijin", FakeSession({"git_pull": (json.dumps(REPORT), "", 0)}))
    assert handler({"ref": "refs/heads/production"}, None)["new"] == "b" * 40
