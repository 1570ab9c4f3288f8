"""The function submit_job, alone in an environment with nothing but its own requirements and moto."""

import json
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest
from moto import mock_aws
from submit_job import SubmitJobCommand, handler

from dea.lambdas import OrchestratorException
from dea.lambdas.events import InvalidEvent
from dea.lambdas.jobs import AnswerOfNoJob, JobsTable, TableMissing
from dea.lambdas.jobs.definition import create_table
from dea.raijin import RequestRefused
from dea.raijin.testing import FakeSession

COMMANDS = Path(__file__).parents[3] / "raijin_scripts"
CONTEXT = SimpleNamespace(
    aws_request_id="7b1a5a9e", invoked_function_arn="arn:aws:lambda:ap-southeast-2:123456789012:function:submit_job"
)
ARGUMENTS = {"project": "v10", "dea-module": "dea/20230710", "search-string": "product=ls8"}
EVENT = {
    "id": "17793124-05d4",
    "source": "dea.scenes",
    "detail-type": "Scene Arrived",
    "detail": {"command": "execute_clean", "arguments": ARGUMENTS},
}


def answer(**changed):
    said = {
        "format": 1,
        "scheduler": "pbs",
        "job_id": "1234.gadi-pbs",
        "run_id": None,
        "name": "clean",
        "submitted": "2026-01-01T00:00:00Z",
    }
    return json.dumps({**said, **changed}) + "\n", "", 0


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    """The commands' argument rules, as `inv package` puts them beside the function."""
    approved = {
        name: json.loads((COMMANDS / name / "approved.json").read_text()) for name in ("submit_job", "execute_clean")
    }
    commands = {name: {key: one[key] for key in ("arguments", "schema")} for name, one in approved.items()}
    (tmp_path / "dea_commands.json").write_text(json.dumps({"format": 1, "commands": commands}))
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def table(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-southeast-2")
    with mock_aws():
        client = boto3.client("dynamodb")
        create_table(client, "dea-jobs")
        yield JobsTable("dea-jobs", client)


def use(monkeypatch, *said):
    session = FakeSession({"execute_clean": said, "submit_job": said})
    monkeypatch.setattr(SubmitJobCommand, "raijin", session)
    return session


def test_submits_and_records(table, monkeypatch):
    session = use(monkeypatch, *answer())
    result = handler(EVENT, CONTEXT)
    assert session.requests == ["execute_clean --project v10 --dea-module dea/20230710 --search-string product=ls8"]
    [run_id] = session.run_ids_used
    assert result == {
        "job_id": "1234.gadi-pbs",
        "run_id": run_id,
        "name": "clean",
        "scheduler": "pbs",
        "submitted": "2026-01-01T00:00:00Z",
        "state": "queued",
    }
    [record] = table.followed()
    assert (record.job.id, record.run_id, record.command) == ("1234.gadi-pbs", run_id, "execute_clean")


def test_the_same_event_is_the_same_job(table, monkeypatch):
    session = use(monkeypatch, *answer())
    first = handler(EVENT, CONTEXT)
    assert handler(EVENT, SimpleNamespace(**{**vars(CONTEXT), "aws_request_id": "another"})) == first
    assert len(session.run_ids_used) == 1
    assert len(table.find("1234.gadi-pbs")) == 1


def test_killed_before_it_is_recorded_the_retry_records_it(table, monkeypatch):
    session = use(monkeypatch, *answer())
    with monkeypatch.context() as patch:
        patch.setattr(JobsTable, "record", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            handler(EVENT, CONTEXT)
    assert table.followed() == []
    assert handler(EVENT, CONTEXT)["run_id"] == session.run_ids_used[0]
    assert len(session.run_ids_used) == 1
    assert len(table.followed()) == 1


@pytest.mark.usefixtures("table")
def test_the_command_is_submit_job_if_the_event_names_none(monkeypatch):
    session = use(monkeypatch, *answer(run_id="run-of-the-node"))
    assert handler({"arguments": {"job": "example", "queue": "express"}}, CONTEXT)["run_id"] == "run-of-the-node"
    assert session.requests == ["submit_job --queue express example"]


def test_a_command_that_failed_has_submitted_nothing_that_is_known(table, monkeypatch):
    use(monkeypatch, "", "qsub: would exceed queue's limit\n", 1)
    with pytest.raises(OrchestratorException, match="would exceed queue's limit"):
        handler(EVENT, CONTEXT)
    assert table.followed() == []


def test_an_answer_that_names_no_job_is_an_error(table, monkeypatch):
    use(monkeypatch, "1234.gadi-pbs\n", "", 0)
    with pytest.raises(AnswerOfNoJob, match=r"what it printed is no answer about jobs .* inv result submit_job-"):
        handler(EVENT, CONTEXT)
    assert table.followed() == []


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("event", "error", "said"),
    [
        ([], InvalidEvent, "is no object"),
        ({"comand": "submit_job"}, InvalidEvent, "unknown fields: 'comand'; there are command and arguments"),
        ({"command": 5}, InvalidEvent, "command is 5"),
        ({"command": "submit_job", "arguments": ["x"]}, InvalidEvent, "arguments are"),
        ({"command": "execute_clean", "arguments": {**ARGUMENTS, "project": "a b"}}, RequestRefused, "--project"),
        ({"command": "execute_clean", "arguments": {}}, RequestRefused, "--search-string"),
        ({"command": "clean_trash"}, RequestRefused, "name it in function.yaml under commands"),
    ],
)
def test_what_is_not_asked_rightly_runs_nothing(monkeypatch, event, error, said):
    session = use(monkeypatch, *answer())
    with pytest.raises(error, match=said):
        handler(event, CONTEXT)
    assert session.requests == []


@pytest.mark.usefixtures("table")
def test_without_the_table_it_says_how_to_make_it_and_which_job_there_is(monkeypatch, caplog):
    use(monkeypatch, *answer())
    monkeypatch.setenv("DEA_JOBS_TABLE", "another")
    with caplog.at_level("INFO"), pytest.raises(TableMissing, match="there is no table 'another'"):
        handler(EVENT, CONTEXT)
    assert [one.job_id for one in caplog.records if one.msg == "job submitted"] == ["1234.gadi-pbs"]


class Answers(dict):
    """A command's answers, one after the other."""

    def get(self, request, default=None):
        """Give the next answer of the command of that name; what is asked for with arguments has none of its own."""
        return self[request].pop(0) if request in self else default


@pytest.mark.parametrize("status", [69, 76])
def test_a_scheduler_that_did_not_answer_is_asked_by_another_attempt_of_the_retry(table, monkeypatch, status):
    down = ("", "submit_job: the scheduler does not answer\n", status)
    session = FakeSession(Answers(execute_clean=[down, down, answer(run_id="the-first-run"), answer()]))
    monkeypatch.setattr(SubmitJobCommand, "raijin", session)
    for _ in range(2):  # each invocation makes one new try, and no more: Lambda waits in between
        with pytest.raises(OrchestratorException, match="does not answer"):
            handler(EVENT, CONTEXT)
    first = handler(EVENT, CONTEXT)
    assert handler(EVENT, CONTEXT) == first
    assert first["run_id"] == "the-first-run"
    assert len(set(session.run_ids_used)) == len(session.run_ids_used) == 3
    assert len(table.followed()) == 1


def test_another_failure_is_not_tried_again(table, monkeypatch):
    failed = ("", "qsub: would exceed queue's limit\n", 1)
    session = FakeSession(Answers(execute_clean=[failed, answer()]))
    monkeypatch.setattr(SubmitJobCommand, "raijin", session)
    for _ in range(3):
        with pytest.raises(OrchestratorException, match="would exceed"):
            handler(EVENT, CONTEXT)
    assert len(session.run_ids_used) == 1
    assert table.followed() == []
