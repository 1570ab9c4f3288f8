"""The function cancel_job, alone in an environment with nothing but its own requirements and moto."""

import json
from types import SimpleNamespace

import boto3
import pytest
from cancel_job import CancelJobCommand, handler
from moto import mock_aws

from dea.lambdas import OrchestratorException
from dea.lambdas.events import InvalidEvent
from dea.lambdas.jobs import AnswerOfNoJob, JobsTable, recorded
from dea.lambdas.jobs.definition import create_table
from dea.raijin.testing import FakeSession
from dea.remote.contract.job import Job, Submitted

ID = "12.gadi-pbs"
CONTEXT = SimpleNamespace(
    aws_request_id="7b1a5a9e", invoked_function_arn="arn:aws:lambda:ap-southeast-2:123456789012:function:cancel_job"
)
EVENT = {"id": "17793124", "source": "me", "detail-type": "Cancel", "detail": {"job_id": ID}}


@pytest.fixture
def table(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-southeast-2")
    with mock_aws():
        client = boto3.client("dynamodb")
        create_table(client, "dea-jobs")
        table = JobsTable("dea-jobs", client)
        submitted = Submitted("pbs", ID, "run-00000001", "tidy", "2020-01-01T00:00:00Z")
        table.record(recorded(submitted, run_id="run-00000001", command="submit_job", now="2020-01-01T00:00:00Z"))
        yield table


def use(monkeypatch, *said):
    session = FakeSession({"cancel_job": said})
    monkeypatch.setattr(CancelJobCommand, "raijin", session)
    return session


def answer(state, **fields):
    return json.dumps({"format": 1, "scheduler": "pbs", "job": Job(ID, state, **fields).encode()}), "", 0


def test_cancels_and_writes_how_the_job_stands_then(table, monkeypatch):
    session = use(monkeypatch, *answer("cancelled", signal=15))
    expected = {"job_id": ID, "run_id": "run-00000001", "state": "cancelled"}
    assert handler(EVENT, CONTEXT) == expected
    assert session.requests == [f"cancel_job {ID}"]
    [record] = table.find(ID)
    assert (record.job.state, record.job.signal, record.followed) == ("cancelled", 15, False)
    assert handler(EVENT, CONTEXT) == expected  # as it is known by now
    assert session.requests == [f"cancel_job {ID}"]


def test_a_job_that_goes_on_for_a_while_is_followed_to_its_end(table, monkeypatch):
    use(monkeypatch, *answer("running"))
    assert handler({"job_id": ID}, CONTEXT)["state"] == "running"
    assert [record.job.state for record in table.followed()] == ["running"]


def test_what_another_knew_first_is_what_it_says(table, monkeypatch):
    use(monkeypatch, *answer("running"))
    write = JobsTable.write

    def overtaken(self, records):
        records = list(records)
        write(
            self,
            [
                record.seen(Job(ID, "cancelled"), "2026-01-01T00:00:09Z", now="2026-01-01T00:00:09Z", lost_after_s=1)
                for record in table.find(ID)
            ],
        )
        return write(self, records)

    monkeypatch.setattr(JobsTable, "write", overtaken)
    assert handler({"job_id": ID}, CONTEXT)["state"] == "cancelled"


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    "event",
    [
        {},
        {"job_id": 12},
        {"job_id": ""},
        {"job_id": "1" * 3000},
        {"job_id": "all"},
        {"id": ID},
        [ID],
        {"job_id": ID, "force": True},
    ],
)
def test_what_names_no_job_is_an_error(monkeypatch, event):
    session = use(monkeypatch, *answer("cancelled"))
    with pytest.raises(InvalidEvent):
        handler(event, CONTEXT)
    assert session.requests == []


@pytest.mark.usefixtures("table")
def test_a_job_of_somebody_else_is_left_alone(monkeypatch):
    session = use(monkeypatch, *answer("cancelled"))
    with pytest.raises(OrchestratorException, match=r"there is no job '13\.gadi-pbs' in the table dea-jobs"):
        handler({"job_id": "13.gadi-pbs"}, CONTEXT)
    assert session.requests == []


def test_a_refusal_of_the_scheduler_is_an_error_that_carries_why(table, monkeypatch):
    use(monkeypatch, "", "qdel: Unauthorized Request\n", 1)
    with pytest.raises(OrchestratorException, match="Unauthorized Request"):
        handler(EVENT, CONTEXT)
    assert table.find(ID)[0].job.state == "queued"


def test_an_answer_that_is_none_changes_nothing(table, monkeypatch):
    use(monkeypatch, "done\n", "", 0)
    with pytest.raises(AnswerOfNoJob):
        handler(EVENT, CONTEXT)
    assert table.find(ID)[0].job.state == "queued"
