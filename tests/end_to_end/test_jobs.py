"""Batch jobs all the way from their events: handlers, SSH, forced command, a real scheduler, table and events.

The scheduler is that of `test_batch_jobs`; what the login node's commands do with it is tested there.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from dea.lambdas import OrchestratorException, warm
from dea.lambdas.jobs import JobRecord, JobsTable, recorded
from dea.raijin import CannotConnect, CommandFailed
from dea.remote.contract.job import Submitted
from tests.conftest import ROOT
from tests.end_to_end.test_batch_jobs import WITHIN_S, Batch, batch  # noqa: F401 - a fixture


@pytest.fixture(scope="module")
def here(batch: Batch) -> Iterator[Batch]:  # noqa: F811
    """The login node, to which this process leads as a function would."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in batch.box.environment({}).items():
            patch.setenv(name, value)
        yield batch
        warm.close()


@pytest.fixture(scope="module")
def overtime(here: Batch) -> str:
    """A job that will exceed its walltime: begun first, because that takes longest."""
    return submitted("long", walltime="00:00:05")


def handler(name: str, *, remaining_s: float = 300) -> Callable[[Any], Any]:
    """Return a function's handler, as a function of the event; it has that much time left."""
    spec = importlib.util.spec_from_file_location(f"tested_{name}", ROOT / "functions" / name / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    end = time.monotonic() + remaining_s
    context = SimpleNamespace(
        aws_request_id="7b1a5a9e",
        invoked_function_arn=f"arn:aws:lambda:ap-southeast-2:123456789012:function:{name}",
        get_remaining_time_in_millis=lambda: 1000 * (end - time.monotonic()),
    )
    return lambda event: module.handler(event, context)


def event(identity: str, **detail: Any) -> dict[str, Any]:
    return {"id": f"{identity}-{os.getpid()}", "source": "tests", "detail-type": "Asked", "detail": detail}


@pytest.fixture
def heard(here: Batch) -> Callable[[], list[dict[str, Any]]]:
    """What a rule of EventBridge for changes of jobs has brought so far."""
    sqs = boto3.client("sqs")
    queue = sqs.create_queue(QueueName="changes")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client = boto3.client("events")
    pattern = {"source": ["dea.jobs"], "detail-type": ["Batch Job State Changed"]}
    client.put_rule(Name="changes", EventPattern=json.dumps(pattern))
    client.put_targets(Rule="changes", Targets=[{"Id": "queue", "Arn": arn}])
    events: list[dict[str, Any]] = []

    def receive() -> list[dict[str, Any]]:
        while some := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            events.extend(json.loads(one["Body"]) for one in some)
        return events

    return receive


def submitted(job: str, **arguments: str) -> str:
    """Submit a job by an event that comes twice; return its id."""
    arguments = {"job": job, "walltime": "00:05:00", "mem": "100MB", **arguments}
    asked = event(f"{job}-{secrets.token_hex(4)}", arguments=arguments)
    submit = handler("submit_job")
    first: str = submit(asked)["job_id"]
    assert submit(asked)["job_id"] == first
    return first


def known(ids: dict[str, str]) -> dict[str, JobRecord]:
    return {job: JobsTable("dea-jobs").find(job_id)[0] for job, job_id in ids.items()}


def tracked(ids: dict[str, str], **states: str) -> dict[str, JobRecord]:
    """Track until jobs have these states; return what is known of all."""
    deadline = time.monotonic() + WITHIN_S
    track = handler("track_jobs")
    while True:
        track(event(f"poll-{secrets.token_hex(4)}"))
        records = known(ids)
        if all(records[job].job.state == state for job, state in states.items()):
            return records
        assert time.monotonic() < deadline, records
        time.sleep(0.5)


@pytest.mark.usefixtures("here", "overtime")
def test_jobs_from_their_events_to_their_true_ends(heard: Callable[[], list[dict[str, Any]]]) -> None:
    ids = {job: submitted(job) for job in ("ok", "fails", "killed", "long", "fails_late")}
    ids["array"] = submitted("task", array="0-2")
    ids["never"] = submitted("ok", after=f"afterok:{ids['fails_late']}")
    ids["waits"] = submitted("ok", after=f"afterok:{ids['long']}")
    assert len(set(ids.values())) == len(ids)
    tracked(ids, long="running")
    cancel = handler("cancel_job")
    for job in ("waits", "long"):
        cancel(event(f"cancel-{ids[job]}", job_id=ids[job]))
    found = tracked(
        ids,
        ok="succeeded",
        fails="failed",
        killed="failed",
        long="cancelled",
        fails_late="failed",
        array="failed",
        never="failed",
        waits="cancelled",
    )
    assert (found["fails"].job.exit_status, found["ok"].job.exit_status) == (3, 0)
    assert found["killed"].job.signal == 9
    assert [change.state for change in found["long"].history][-2:] == ["running", "cancelled"]
    assert "2 of 3 tasks failed" in str(found["array"].job.reason)
    assert "can never be met" in str(found["never"].job.reason)
    for job in ("never", "waits"):
        assert (found[job].job.started, found[job].job.exit_status) == (None, None)
        assert "running" not in [change.state for change in found[job].history]
    assert not any(record.followed for record in found.values())
    told = sorted(
        (one["detail"]["job"]["id"], one["detail"]["number"], one["detail"]["state"])
        for one in heard()
        if one["detail"]["job"]["id"] in ids.values()
    )
    changes = [(one.job.id, change.number, change.state) for one in found.values() for change in one.history]
    assert told == sorted(changes)


def test_an_id_that_never_was_is_unknown_and_after_its_grace_lost(here: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = submitted("ok")
    never = job_id.replace(job_id.partition(".")[0], "999999")
    answer = Submitted(here.kind, never, "run-00000001", "never", "2026-01-01T00:00:00Z")
    JobsTable("dea-jobs").record(recorded(answer, run_id="run-00000001", command="submit_job", now=answer.submitted))
    ids = {"never": never, "ok": job_id}
    found = tracked(ids, never="unknown", ok="succeeded")
    assert found["never"].job.exit_status is None
    monkeypatch.setenv("DEA_JOBS_LOST_AFTER_S", "1")
    assert tracked(ids, never="lost")["never"].job.exit_status is None


def test_a_scheduler_that_is_down_for_a_while_loses_no_job(here: Batch) -> None:
    if here.server is None:
        pytest.skip("a PBS server of somebody else's is not stopped")
    ids = {"fails_late": submitted("fails_late")}
    asked = event(f"later-{secrets.token_hex(4)}", arguments={"job": "ok", "walltime": "00:05:00", "mem": "100MB"})
    before = known(ids)
    here.server.stop_controller()
    try:
        with pytest.raises(CommandFailed):
            handler("track_jobs")(event(f"poll-{secrets.token_hex(4)}"))
        assert known(ids) == before
        with pytest.raises(OrchestratorException):
            handler("submit_job")(asked)
    finally:
        here.server.start_controller()
    ids["ok"] = handler("submit_job")(asked)["job_id"]  # by another attempt of the run
    assert handler("submit_job")(asked)["job_id"] == ids["ok"]
    found = tracked(ids, fails_late="failed", ok="succeeded")
    assert found["fails_late"].job.exit_status == 4


def test_while_the_login_node_is_down_nothing_changes(here: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = {"ok": submitted("ok")}
    before = known(ids)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("DEA_RAIJIN_USER_PATH", here.box.stored_for("127.0.0.1:1"))
        with pytest.raises(CannotConnect):
            handler("track_jobs", remaining_s=2)(event("poll-3"))
    assert known(ids) == before
    tracked(ids, ok="succeeded")


@pytest.mark.usefixtures("here")
def test_a_job_that_outlives_its_walltime_has_failed(overtime: str) -> None:
    """It comes last, so that the others' time is the job's."""
    job = tracked({"overtime": overtime}, overtime="failed")["overtime"].job
    assert (job.state, job.exit_status) == ("failed", None)
    assert "it exceeded its walltime" in str(job.reason)
