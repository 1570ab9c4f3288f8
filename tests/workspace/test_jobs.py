"""`inv jobs` on a sandbox that is kept up: the table, one job's history, JSON, and a clear line for each mistake."""

from __future__ import annotations

import doctest
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from dea.lambdas.jobs import JobsTable, recorded
from dea.lambdas.jobs.definition import DEFINITION
from dea.remote.contract.job import Asked, Job, Submitted, Used
from dea.workspace import jobs
from dea.workspace.errors import WorkspaceError
from dea.workspace.sandbox import REGION, Sandbox, sandbox
from tests.conftest import ROOT

BIN = Path(sys.executable).parent
DEADLINE_S = 60.0
DAY = "2026-01-01T00"


@pytest.fixture(scope="module")
def kept() -> Iterator[Sandbox]:
    """A sandbox that is kept up, whose table has two jobs that are followed and one that has failed."""
    with sandbox() as box:
        session = boto3.Session("x", "x", region_name=REGION)
        table = JobsTable("dea-jobs", session.client("dynamodb", endpoint_url=box.endpoint_url))
        for number in (1, 2, 3):
            answer = Submitted("pbs", f"{number}.gadi-pbs", None, f"tidy {number}", f"{DAY}:0{number}:00Z")
            table.record(recorded(answer, run_id=f"run-0000000{number}", command="execute_clean", now=answer.submitted))
        for state, at, fields in (
            ("running", f"{DAY}:10:00Z", {}),
            ("failed", f"{DAY}:20:00Z", {"exit_status": 3, "reason": "it said no\x1b[2J", "ended": f"{DAY}:19:00Z"}),
        ):
            [record] = table.find("3.gadi-pbs")
            job = Job(
                "3.gadi-pbs",
                state,
                name="tidy 3",
                queue="normal",
                submitted=f"{DAY}:03:00Z",
                started=f"{DAY}:09:00Z",
                asked=Asked(ncpus=2),
                used=Used(cpu_s=600.0, walltime_s=600),
                **fields,  # type: ignore[arg-type]
            )
            seen = record.seen(job, at, now=at, lost_after_s=3600)
            assert seen is not None
            [written] = table.write([seen])
            table.settle([written.told()])
        yield box


@pytest.fixture
def inv(kept: Sandbox) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run inv in a shell that has exported what `inv sandbox` prints."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "inv", "jobs", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
            env={**os.environ, **kept.variables},
        )

    return run


def test_what_the_docstrings_show_is_so() -> None:
    done = doctest.testmod(jobs)
    assert done.attempted > 0
    assert done.failed == 0


def test_the_table_has_the_jobs_that_are_followed_newest_first(inv: Any) -> None:
    done = inv()
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert re.split(r"  +", head.strip())[:5] == ["submitted (UTC)", "job", "name", "queue", "state"]
    assert [re.split(r"  +", line.strip())[1] for line in lines] == ["2.gadi-pbs", "1.gadi-pbs"]


def test_since_lists_those_that_have_ended_too_and_state_chooses(inv: Any) -> None:
    def listed(*arguments: str) -> list[str]:
        done = inv("--json", *arguments)
        assert done.returncode == 0, done.stderr
        return [job["id"] for job in json.loads(done.stdout)["jobs"]]

    assert listed("--since", DAY) == ["3.gadi-pbs", "2.gadi-pbs", "1.gadi-pbs"]
    assert listed("--since", f"{DAY}:02") == ["3.gadi-pbs", "2.gadi-pbs"]
    assert listed("--since", DAY, "--state", "failed") == ["3.gadi-pbs"]
    assert listed("--state", "running") == []
    [line] = inv("--since", DAY, "--state", "failed").stdout.splitlines()[1:]
    assert re.split(r"  +", line.strip())[1:] == [
        "3.gadi-pbs",
        "tidy 3",
        "normal",
        "failed 3",
        "6 m 00 s",
        "10 m 00 s",
        "50 %",
        "execute_clean",
    ]


def test_one_job_has_its_history(inv: Any) -> None:
    done = inv("--id", "3.gadi-pbs")
    assert done.returncode == 0, done.stderr
    facts, history = done.stdout.split("\n\n")
    assert re.search(r"^state +failed 3$", facts, re.MULTILINE)
    assert re.search(r"^reason +it said no\\x1b\[2J$", facts, re.MULTILINE)  # what steers a terminal is shown as text
    assert done.stdout.isascii()
    assert "\x1b" not in done.stdout
    assert re.search(r"^run +run-00000003$", facts, re.MULTILINE)
    assert [re.split(r"  +", line.strip())[1] for line in history.splitlines()[1:]] == ["queued", "running", "failed 3"]
    [told] = json.loads(inv("--id", "3.gadi-pbs", "--json").stdout)["jobs"]
    assert (told["exit_status"], told["queue_wait_s"], told["cpu_efficiency_percent"]) == (3, 360.0, 50.0)
    assert [change["state"] for change in told["history"]] == ["queued", "running", "failed"]
    assert (told["followed"], told["unsent_events"]) == (False, 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--id", "4.gadi-pbs"), "there is no job '4.gadi-pbs' in the table dea-jobs"),
        (("--id", "3.gadi-pbs", "--since", "1d"), "leave out --since and --state"),
        (("--state", "done"), "--state 'done' is none: choose one of queued, held"),
        (("--state", "failed"), "a job that has ended is not followed any more; add --since"),
        (("--since", "x"), "is no time"),
        (("--table", "another"), "there is no table 'another'"),
        (("--table", "a b"), "the jobs cannot be read"),
        (("--target", "moon"), "choose one of sandbox, aws"),
        (("--target", "aws"), "leads to a sandbox"),
    ],
)
def test_a_mistake_is_one_clear_line(inv: Any, arguments: tuple[str, ...], said: str) -> None:
    done = inv(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("inv jobs: ")
    assert said in last
    assert "Traceback" not in done.stderr


def test_without_a_sandbox_nobody_is_asked() -> None:
    with pytest.raises(WorkspaceError, match="this shell leads to no sandbox: run inv sandbox"):
        jobs.show(job_id="", since="", state="", table="", as_json=False, target="sandbox")


def test_the_template_makes_the_table_that_the_sandbox_has() -> None:
    template = (ROOT / "dea" / "workspace" / "cloudformation" / "jobs.yaml").read_text("utf-8")
    properties = yaml.safe_load(template)["Resources"]["JobsTable"]["Properties"]
    own = {name: properties[name] for name in DEFINITION}
    assert own == DEFINITION
    assert set(properties) - set(own) == {"TableName", "PointInTimeRecoverySpecification"}


def test_the_template_is_sound() -> None:
    import cfnlint.api

    template = (ROOT / "dea" / "workspace" / "cloudformation" / "jobs.yaml").read_text("utf-8")
    assert [str(match) for match in cfnlint.api.lint(template)] == []


def test_cloudformation_makes_it(kept: Sandbox) -> None:
    session = boto3.Session("x", "x", region_name=REGION)
    client = session.client("cloudformation", endpoint_url=kept.endpoint_url)
    template = (ROOT / "dea" / "workspace" / "cloudformation" / "jobs.yaml").read_text("utf-8")
    parameters = [{"ParameterKey": "TableName", "ParameterValue": "jobs-test"}]
    client.create_stack(StackName="jobs", TemplateBody=template, Parameters=parameters)
    table = JobsTable("jobs-test", session.client("dynamodb", endpoint_url=kept.endpoint_url))
    answer = Submitted("slurm", "7", None, "tidy", f"{DAY}:00:00Z")
    table.record(recorded(answer, run_id="run-00000007", command="submit_job", now=answer.submitted))
    assert [record.job.id for record in table.followed()] == ["7"]
