"""Runs through real login nodes: started, followed, found again, cancelled, run anew, many at once, streamed away."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import boto3
import psutil
import pytest

from dea.raijin import (
    Call,
    CommandFailed,
    CommandTimeout,
    RaijinSession,
    RequestRefused,
    SomeFailed,
    StillRunning,
    ToFile,
    ToS3,
    UnknownRun,
)
from dea.raijin.destinations import S3_PART_BYTES
from dea.workspace.sandbox import Sandbox
from dea.workspace.sandbox.client import REGION
from tests.end_to_end.conftest import Start

MEBIBYTE = 1024 * 1024


def new_id() -> str:
    return f"test-{secrets.token_hex(8)}"


def test_the_same_id_gives_the_same_result_without_a_second_run(session: RaijinSession, box: Sandbox) -> None:
    run_id = new_id()
    first = session.exec_command("probe exit_with 3", run_id=run_id)
    again = session.exec_command("probe exit_with 3", run_id=run_id)
    assert tuple(again) == tuple(first) == ("out\n", "err\n", 3)
    assert (first.run_id, first.outcome, first.replayed, again.replayed) == (run_id, "exited", False, True)
    assert (again.started, again.ended) == (first.started, first.ended)
    assert [line["event"] for line in box.audit() if line.get("run_id") == run_id].count("started") == 1


def test_the_same_id_for_something_else_is_refused(session: RaijinSession) -> None:
    run_id = new_id()
    session.exec_command("probe silent", run_id=run_id)
    result = session.exec_command("probe exit_with 0", run_id=run_id)
    assert (result.outcome, result.exit_code) == ("refused", 126)
    assert "claimed with 'silent'" in result.stderr


def test_start_result_and_what_is_there_meanwhile(session: RaijinSession) -> None:
    run_id = session.start("probe sleep 2")
    with pytest.raises(StillRunning) as raised:
        session.result(run_id, wait=False)
    assert raised.value.run_id == run_id
    result = session.result(run_id)
    assert tuple(result) == ("begun\n", "", 0)
    assert session.result(run_id, wait=False) == result


def test_after_the_callers_timeout_the_run_is_found_again(session: RaijinSession) -> None:
    with pytest.raises(CommandTimeout) as raised:
        session.exec_command("probe sleep 2", timeout=1.0)
    assert raised.value.run_id is not None
    assert session.result(raised.value.run_id).stdout == "begun\n"


def test_calls_whose_time_was_over_do_not_use_up_the_connections_sessions(session: RaijinSession) -> None:
    """OpenSSH allows ten at once; what the client has closed may still count there."""
    for _ in range(11):
        with pytest.raises(CommandTimeout):
            session.exec_command("probe sleep 20", timeout=1.0)
    assert session.exec_command("probe silent", timeout=20).ok
    assert session._connections.count <= 2


def test_what_is_refused_is_not_started(session: RaijinSession) -> None:
    with pytest.raises(CommandFailed, match="exit status 127: dea-remote: there is no command nope"):
        session.start("nope")


def test_an_unknown_run(session: RaijinSession) -> None:
    for ask in (session.result, session.cancel, session.rerun):
        with pytest.raises(UnknownRun, match="of this key"):
            ask("no-such-run-1")
    with pytest.raises(RequestRefused, match="is no run id"):
        session.result("../etc")


def test_cancel_ends_a_run(session: RaijinSession) -> None:
    run_id = session.start("probe sleep 60")
    assert session.cancel(run_id).outcome == "cancelled"
    result = session.result(run_id)
    assert (result.outcome, result.exit_code) == ("cancelled", 143)
    assert session.cancel(run_id).outcome == "cancelled"


def test_rerun_is_a_new_attempt_with_an_id_of_its_own(session: RaijinSession) -> None:
    run_id = new_id()
    session.exec_command("probe exit_with 3", run_id=run_id)
    second = session.rerun(run_id)
    third = session.rerun(str(second.run_id))
    assert [(one.run_id, one.attempt, one.exit_code) for one in (second, third)] == [
        (f"{run_id}-a2", 2, 3),
        (f"{run_id}-a3", 3, 3),
    ]


def test_runs_lists_what_this_key_has_run(session: RaijinSession) -> None:
    before = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    run_id = new_id()
    session.exec_command("probe exit_with 3", run_id=run_id)
    newest = session.runs(since=before)[0]
    assert (newest.run_id, newest.command, newest.arguments) == (run_id, "probe", ("exit_with", "3"))
    assert (newest.outcome, newest.status, newest.stdout_bytes, newest.key) == ("exited", 3, 4, "sandbox")
    assert session.runs(since="2999-01-01") == []
    with pytest.raises(RequestRefused, match="no time in UTC"):
        session.runs(since="yesterday")


def test_many_run_over_few_connections_and_come_back_in_order(box: Sandbox) -> None:
    with box.session() as session:
        results = session.run_many([f"echo_args {number}" for number in range(30)], max_parallel=12)
        assert [result.stdout for result in results] == [f"[{number}]\n" for number in range(30)]
        assert session._connections.count == 2


def test_one_failure_does_not_hide_the_others(session: RaijinSession) -> None:
    calls = ["echo_args a", "echo_args 'b", "probe exit_with 3", Call.from_text("echo_args d").named(run_id=new_id())]
    with pytest.raises(
        SomeFailed, match="1 of 4 calls have no result; the first of them is number 2: RequestRefused"
    ) as raised:
        session.run_many(calls)
    first, second, third, fourth = raised.value.results
    assert isinstance(second, RequestRefused)
    assert [one.exit_code for one in (first, third, fourth) if not isinstance(one, Exception)] == [0, 3, 0]


def test_ids_are_made_in_order_before_anything_is_sent(session: RaijinSession) -> None:
    asked: list[str | None] = []

    def run_ids(key: str | None) -> str:
        asked.append(key)
        return f"ordered-{secrets.token_hex(4)}-{len(asked)}"

    session.run_ids = run_ids
    calls = [Call.from_text(f"echo_args {number}").named(key=f"k{number}") for number in range(9)]
    results = session.run_many(calls, max_parallel=9)
    assert asked == [f"k{number}" for number in range(9)]
    assert [str(result.run_id).rpartition("-")[2] for result in results] == [str(number) for number in range(1, 10)]


def test_output_comes_as_it_is_written(session: RaijinSession) -> None:
    came: list[tuple[str, bytes, float]] = []
    begin = time.monotonic()
    session.exec_command(
        "probe sleep 2", on_output=lambda name, data: came.append((name, data, time.monotonic() - begin))
    )
    ended = time.monotonic() - begin
    assert [(name, data) for name, data, _ in came] == [("stdout", b"begun\n")]
    assert came[0][2] < ended - 1


def test_a_long_output_goes_to_a_file_and_memory_stays_small(session: RaijinSession, tmp_path: Path) -> None:
    path = tmp_path / "output"
    process = psutil.Process()
    before = process.memory_info().rss
    peaks: list[int] = []
    result = session.exec_command(
        "probe flood 64",
        max_output=1000,
        stdout_to=ToFile(path),
        on_output=lambda *_: peaks.append(process.memory_info().rss),
    )
    assert (result.exit_code, result.stdout_bytes, path.stat().st_size) == (0, 64 * MEBIBYTE, 64 * MEBIBYTE)
    assert max(peaks) - before < 32 * MEBIBYTE
    block = bytes(range(32, 96)) * 1024
    with path.open("rb") as file:
        assert all(file.read(len(block)) == block for _ in range(1024))
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_not_there_unless_it_is_complete(session: RaijinSession, tmp_path: Path) -> None:
    with pytest.raises(CommandTimeout):
        session.exec_command("probe sleep 30", timeout=1.0, stdout_to=ToFile(tmp_path / "output"))
    assert list(tmp_path.iterdir()) == []


def test_a_long_output_goes_to_s3_part_by_part(start_sandbox: Start) -> None:
    box = start_sandbox("asyncssh")
    s3 = boto3.Session("sandbox", "sandbox", region_name=REGION).client("s3", endpoint_url=box.endpoint_url)
    bucket = f"outputs-{secrets.token_hex(4)}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    parts: list[int] = []
    s3.meta.events.register(
        "provide-client-params.s3.UploadPart", lambda params, **_: parts.append(len(params["Body"]))
    )
    with box.session() as session:
        assert session.exec_command("probe flood 20", max_output=0, stdout_to=ToS3(bucket, "long", s3=s3)).ok
        assert session.exec_command("probe exit_with 0", stdout_to=ToS3(bucket, "short", s3=s3)).ok
        with pytest.raises(CommandTimeout):
            session.exec_command("probe sleep 30", timeout=1.0, stdout_to=ToS3(bucket, "none", s3=s3))
    stored = s3.get_object(Bucket=bucket, Key="long")["Body"].read()
    assert stored == bytes(range(32, 96)) * (20 * MEBIBYTE // 64)
    assert parts == [S3_PART_BYTES, S3_PART_BYTES, 4 * MEBIBYTE]
    assert s3.get_object(Bucket=bucket, Key="short")["Body"].read() == b"out\n"
    assert {entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]} == {"long", "short"}
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
