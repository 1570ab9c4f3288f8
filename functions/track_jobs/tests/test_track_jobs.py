"""The function track_jobs, alone in an environment with nothing but its own requirements and moto."""

import json

import boto3
import pytest
from moto import mock_aws
from track_jobs import TrackJobsCommand, handler

from dea.lambdas.jobs import JobsTable, recorded
from dea.lambdas.jobs.definition import create_table
from dea.raijin import CommandFailed
from dea.raijin.testing import FakeSession
from dea.remote.contract.job import Job, Standing, Submitted

AS_OF = "2020-01-01T00:10:00Z"
SCHEDULED = {"id": "53dc4d37", "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}


@pytest.fixture
def table(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-southeast-2")
    with mock_aws():
        client = boto3.client("dynamodb")
        create_table(client, "dea-jobs")
        table = JobsTable("dea-jobs", client)
        submitted = Submitted("pbs", "12.gadi-pbs", "run-00000001", "tidy", "2020-01-01T00:00:00Z")
        table.record(recorded(submitted, run_id="run-00000001", command="submit_job", now="2020-01-01T00:00:00Z"))
        yield table


def use(monkeypatch, *said):
    session = FakeSession({"job_status": said})
    monkeypatch.setattr(TrackJobsCommand, "raijin", session)
    return session


def standing(*jobs):
    return json.dumps(Standing("pbs", AS_OF, jobs).encode()), "", 0


def test_polls_and_says_how_much_there_was(table, monkeypatch, capsys):
    session = use(monkeypatch, *standing(Job("12.gadi-pbs", "failed", exit_status=3)))
    report = handler(SCHEDULED, None)
    assert report == {"followed": 1, "asked": 1, "changed": 1, "raced": 0, "sent": 2, "unsent": 0}
    assert session.requests == ["job_status 12.gadi-pbs"]
    [record] = table.find("12.gadi-pbs")
    assert (record.job.state, record.job.exit_status, record.followed) == ("failed", 3, False)
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["Failed"] for line in metrics if "Failed" in line] == [1]
    assert handler(SCHEDULED, None)["followed"] == 0


@pytest.mark.usefixtures("table")
def test_the_login_node_is_asked_anew_by_each_poll(monkeypatch):
    session = use(monkeypatch, *standing(Job("12.gadi-pbs", "running")))
    handler(SCHEDULED, None)
    handler(SCHEDULED, None)  # the same event again: an old answer would be of no use
    assert len(set(session.run_ids_used)) == 2


def test_a_scheduler_that_does_not_answer_is_an_error_and_changes_nothing(table, monkeypatch):
    use(monkeypatch, "", "qstat: cannot connect to server gadi-pbs (errno=111)\n", 1)
    before = table.find("12.gadi-pbs")[0]
    with pytest.raises(CommandFailed, match="cannot connect to server"):
        handler(SCHEDULED, None)
    after = table.find("12.gadi-pbs")[0]
    assert (after.job, after.version, after.history) == (before.job, before.version, before.history)


def test_the_grace_is_the_environments(table, monkeypatch):
    monkeypatch.setenv("DEA_JOBS_LOST_AFTER_S", "0")
    use(monkeypatch, *standing(Job("12.gadi-pbs", "unknown")))
    handler(SCHEDULED, None)
    assert table.find("12.gadi-pbs")[0].job.state == "lost"
