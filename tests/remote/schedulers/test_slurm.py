"""What Slurm prints, read: captured from Debian's Slurm 22.05, and from the accounting of others."""

import re
import time
from functools import partial

import pytest

from dea.remote.contract.job import Asked, Used, parse_job
from dea.remote.schedulers import slurm
from dea.remote.schedulers.calls import Answer, hold
from dea.remote.schedulers.errors import Refused, Uncertain, Unreachable
from dea.remote.schedulers.order import Order, mark_of
from dea.remote.schedulers.slurm_jobs import SACCT_FIELDS, SQUEUE_FIELDS
from tests.remote.schedulers.captured import talk

# squeue --array --states=all, with SQUEUE_FIELDS.
QUEUE = """\
7|N/A|CANCELLED|0|DependencyNeverSatisfied|normal|(null)|1|100M|5:00|2026-11-24T22:24:14|2026-11-24T22:24:23|2026-11-24T22:24:23||ok|
9|N/A|CANCELLED|0|None|normal|(null)|1|0|UNLIMITED|2026-11-24T22:24:14|2026-11-24T22:24:22|2026-11-24T22:24:22|node1|long|
10|N/A|CANCELLED|0|Dependency|normal|(null)|1|0|UNLIMITED|2026-11-24T22:24:14|2026-11-24T22:24:22|2026-11-24T22:24:22||ok|
1|N/A|COMPLETED|0|None|normal|v10|4|8G|1-00:00:00|2026-11-24T22:24:14|2026-11-24T22:24:17|2026-11-24T22:24:21|node1|a, b
c|
5|0|COMPLETED|0|None|normal|(null)|1|0|UNLIMITED|2026-11-24T22:24:14|2026-11-24T22:24:17|2026-11-24T22:24:20|node1|task|
2|N/A|FAILED|768|NonZeroExitCode|normal|(null)|1|0|UNLIMITED|2026-11-24T22:24:14|2026-11-24T22:24:17|2026-11-24T22:24:20|node1|fails|
3|N/A|FAILED|9|JobLaunchFailure|normal|(null)|1|0|UNLIMITED|2026-11-24T22:24:14|2026-11-24T22:24:17|2026-11-24T22:24:20|node1|killed|
5|1|FAILED|256|NonZeroExitCode|normal|(null)|1|0|UNLIMITED|2026-11-24T22:24:14|2026-11-24T22:24:17|2026-11-24T22:24:20|node1|task|
5|2|FAILED|512|NonZeroExitCode|normal|(null)|1|0|UNLIMITED|2026-11-24T22:24:14|2026-11-24T22:24:17|2026-11-24T22:24:21|node1|task|
4|N/A|RUNNING|0|None|normal|(null)|1|0|1:00|2026-11-24T22:24:14|2026-11-24T22:24:17|2026-11-24T22:25:17|node1|long|
12|N/A|TIMEOUT|0|TimeLimit|normal|(null)|1|0|1:00|2026-11-24T22:24:14|2026-11-24T22:24:17|2026-11-24T22:25:47|node1|long|
13|N/A|PENDING|0|Dependency|normal|(null)|1|0|1:00|2026-11-24T22:24:14|N/A|N/A||ok|
14|N/A|PENDING|0|Resources|normal|(null)|1|0|1:00|2026-11-24T22:24:14|2026-11-24T22:30:00|N/A||ok|
15|N/A|COMPLETING|0|None|normal|(null)|1|0|1:00|2026-11-24T22:24:14|2026-11-24T22:24:17|2026-11-24T22:24:20|node1|ok|
16|N/A|COMPLETED|256|None|normal|(null)|1|0|1:00|2026-11-24T22:24:14|2026-11-24T22:24:17|2026-11-24T22:24:20|node1|ok|
17|N/A|NEWFANGLED|0|None|normal|(null)|1|0|1:00|2026-11-24T22:24:14|2026-11-24T22:24:17|2026-11-24T22:24:20|node1|ok|
"""
OFF = Answer(1, "", "Slurm accounting storage is disabled\n")
NEVER = Answer(1, "", "slurm_load_jobs error: Invalid job id specified\n")
status = partial(slurm.status, separator="|")
DOWN = "Unable to contact slurm controller (connect failure)"


@pytest.mark.parametrize(
    ("job_id", "expected"),
    [
        ("1", ("succeeded", 0, None)),
        ("2", ("failed", 3, None)),
        ("3", ("failed", None, 9)),
        ("4", ("running", None, None)),
        ("5", ("failed", 1, None)),
        ("5_0", ("succeeded", 0, None)),
        ("5_2", ("failed", 2, None)),
        ("5_3", ("unknown", None, None)),
        ("7", ("failed", None, None)),
        ("9", ("cancelled", None, None)),
        ("10", ("cancelled", None, None)),
        ("12", ("failed", None, None)),
        ("13", ("held", None, None)),
        ("14", ("queued", None, None)),
        ("15", ("exiting", None, None)),
        ("16", ("unknown", None, None)),  # what it is called and how it ended do not agree
        ("17", ("unknown", None, None)),
        ("99999", ("unknown", None, None)),
    ],
)
def test_a_job_is_what_the_controller_says(job_id, expected):
    answers = [Answer(0, QUEUE)] + [OFF] * (expected[0] not in ("running", "held", "queued", "exiting"))
    job = talk(status([job_id]), *answers)[job_id]
    assert (job.id, job.state, job.exit_status, job.signal) == (job_id, *expected)
    assert parse_job(job.encode()) == job


def test_all_of_a_job_is_read():
    job = talk(status(["1"]), Answer(0, QUEUE), OFF)["1"]
    assert (job.name, job.queue, job.project, job.host, job.raw_state) == (
        "a, b\nc",
        "normal",
        "v10",
        "node1",
        "COMPLETED",
    )
    assert job.asked == Asked(4, 8 << 30, 86400)
    assert job.used == Used(walltime_s=4)
    assert (job.submitted, job.started, job.ended) == (
        "2026-11-24T22:24:14Z",
        "2026-11-24T22:24:17Z",
        "2026-11-24T22:24:21Z",
    )


def test_what_never_began_has_no_beginning():
    jobs = talk(status(["7", "10", "14"]), Answer(0, QUEUE), OFF)
    assert [job.started for job in jobs.values()] == [None, None, None]
    assert "can never be met" in jobs["7"].reason


def test_one_question_is_for_all_and_for_what_has_ended_a_second_one():
    asked = []
    talk(status(["1", "4", "14"]), Answer(0, QUEUE), OFF, asked=asked)
    assert [words[0] for words in asked] == ["squeue", "sacct"]
    assert (asked[0][-1], asked[1][-1]) == ("1,4,14", "1")
    assert f"--format={','.join(SACCT_FIELDS)}" in asked[1]
    assert all(field in asked[0][4] for field in SQUEUE_FIELDS)


def test_a_job_whose_name_reads_as_another_jobs_row_fools_nobody():
    """What ends a column is asked for anew each time, and no name can have it."""
    forged = "x|\n4|N/A|COMPLETED|0|None|normal|(null)|1|0|1:00|2026-11-24T22:24:14|N/A|N/A|node1|x"
    asked = []

    def answer(call):
        asked.append(call.argv)
        separator = re.search(r"ArrayJobID:([^,]+),", " ".join(call.argv))[1]
        return Answer(0, QUEUE.replace("|", separator).replace("||ok", f"||{forged}").replace("fails", forged))

    assert hold(slurm.status(["4"]), answer)["4"].state == "running"
    assert hold(slurm.status(["4"]), answer)["4"].state == "running"
    assert asked[0] != asked[1]


def test_an_id_that_is_none_of_slurms_does_not_spoil_the_others():
    asked = []
    jobs = talk(status(["12.gadi-pbs", "4", "99999999999", "13[]"]), Answer(0, QUEUE), asked=asked)
    assert [job.state for job in jobs.values()] == ["unknown", "running", "unknown", "unknown"]
    assert asked[0][-1] == "4"
    assert talk(status(["12.gadi-pbs"]))["12.gadi-pbs"].state == "unknown"


def array_of_two(begun):
    return "".join(
        f"5|{task}|COMPLETED|0|None|normal|v10|1|0|1:00|{begun}|{begun}|{begun}|node1|task|\n" for task in (1, 2)
    )


def test_an_array_whose_tasks_the_controller_may_have_forgotten_has_not_succeeded():
    """Task 0 failed, and the controller forgot it five minutes later: the two that are left are well."""
    kept = Answer(0, "MinJobAge               = 300 sec\n")
    old, now = "2026-01-01T00:00:00", time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    job = talk(status(["5"]), Answer(0, array_of_two(old)), OFF, kept)["5"]
    assert (job.state, job.exit_status) == ("unknown", None)
    assert "one by one" in job.reason
    assert talk(status(["5"]), Answer(0, array_of_two(now)), OFF, kept)["5"].state == "succeeded"
    forever = Answer(0, "MinJobAge               = 0 sec\n")
    assert talk(status(["5"]), Answer(0, array_of_two(old)), OFF, forever)["5"].state == "succeeded"
    assert talk(status(["5_1"]), Answer(0, array_of_two(old)), OFF)["5_1"].state == "succeeded"
    # The accounting knows of task 0, and is late with task 2.
    late = SACCT.replace("22_1", "5_0").replace("22_2|task|COMPLETED", "5_2|task|RUNNING")
    assert talk(status(["5"]), Answer(0, array_of_two(old)), Answer(0, late))["5"].state == "running"


SACCT = """\
20|tidy|COMPLETED|0:0|None|normal|v10|2|4Gn|02:00:00|00:01.500||60|2026-01-01T00:00:00|2026-01-01T00:01:00|2026-01-01T00:02:00|node1
20.batch|batch|COMPLETED|0:0||||2|4Gn||00:01.500|2048K|60|2026-01-01T00:01:00|2026-01-01T00:01:00|2026-01-01T00:02:00|node1
21|tidy|CANCELLED by 1000|0:15|None|normal|v10|1|1G|02:00:00|00:00:00||0|2026-01-01T00:00:00|None|2026-01-01T00:02:00|None assigned
22_1|task|FAILED|3:0|None|normal|v10|1|1G|02:00:00|00:00:01||1|2026-01-01T00:00:00|2026-01-01T00:01:00|2026-01-01T00:02:00|node1
22_2|task|COMPLETED|0:0|None|normal|v10|1|1G|02:00:00|00:00:02||1|2026-01-01T00:00:00|2026-01-01T00:01:00|2026-01-01T00:03:00|node1
""".replace("\n", "|\n")


def test_what_the_controller_forgot_the_accounting_knows_and_what_it_used():
    jobs = talk(status(["20", "21", "22", "22_2", "23"]), NEVER, Answer(0, SACCT))
    assert [(job.id, job.state, job.exit_status) for job in jobs.values()] == [
        ("20", "succeeded", 0),
        ("21", "cancelled", None),
        ("22", "failed", 3),
        ("22_2", "succeeded", 0),
        ("23", "unknown", None),
    ]
    assert (jobs["20"].asked, jobs["20"].used) == (Asked(2, 4 << 30, 7200), Used(1.5, 2 << 20, 60))
    assert (jobs["21"].started, jobs["21"].host) == (None, None)
    assert jobs["22"].used.cpu_s == 3.0
    assert jobs["22"].ended == "2026-01-01T00:03:00Z"
    # Both know it: the controller's word, with what the accounting counted.
    job = talk(status(["1"]), Answer(0, QUEUE), Answer(0, SACCT.replace("20|", "1|").replace("20.", "1.")))["1"]
    assert (job.state, job.used.cpu_s, job.host) == ("succeeded", 1.5, "node1")
    # The accounting is late.
    late = SACCT.replace("20|tidy|COMPLETED", "1|tidy|RUNNING")
    assert talk(status(["1"]), Answer(0, QUEUE), Answer(0, late))["1"].state == "succeeded"


@pytest.mark.parametrize("said", [Answer(1, "", f"slurm_load_jobs error: {DOWN}"), Answer(None), Answer(-9)], ids=str)
def test_a_controller_that_does_not_answer_is_no_answer(said):
    with pytest.raises(Unreachable):
        talk(status(["1"]), said)
    with pytest.raises(Unreachable):
        talk(slurm.find("tidy-x", "root", 0), said)
    with pytest.raises(Unreachable):
        talk(slurm.cancel("1"), said)


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (Answer(0, "12\n"), "12"),
        (Answer(0, "12;cluster\n"), "12"),
        (Answer(0, ""), Uncertain),
        (Answer(None), Uncertain),
        (Answer(-9), Uncertain),
        (Answer(1, "", ""), Uncertain),
        (
            Answer(1, "", "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"),
            Uncertain,
        ),
        (
            Answer(1, "", "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received"),
            Uncertain,
        ),
        *(
            (Answer(1, "", f"sbatch: error: Batch job submission failed: {said}"), Uncertain)
            for said in (
                "Unable to contact slurm controller (receive failure)",
                "Unable to contact slurm controller (send failure)",
                "Message receive failure",
                "Connection timed out",
            )
        ),
        (Answer(1, "", f"sbatch: error: Batch job submission failed: {DOWN}"), Unreachable),
        (Answer(1, "", "sbatch: error: Batch job submission failed: Invalid partition name specified"), Refused),
        (Answer(255, "", "sbatch: unrecognized option '--bogus'\nTry \"sbatch --help\" for more information"), Refused),
        (Answer(1, "", "sbatch: error: This does not look like a batch script."), Refused),
    ],
    ids=str,
)
def test_what_came_of_a_submission_is_told_or_uncertain(said, outcome):
    if isinstance(outcome, str):
        assert slurm.submitted(said) == outcome
    else:
        with pytest.raises(outcome):
            slurm.submitted(said)


def test_what_is_asked_for_is_said_to_sbatch():
    order = Order(
        b"#!/bin/sh\n", "tidy", mark_of("run-0001"), "run-0001", queue="express", project="v10", walltime_s=9000, ncpus=4,
        mem_bytes=8 << 30, storage=("gdata/v10",), after=(("afterok", "1"), ("afterany", "2")), array="0-9:3",
        variables=(("YEAR", "2020"),), output="/scratch/out",
    )  # fmt: skip
    call = slurm.submit_call(order)
    assert call.argv == (
        "sbatch", "--parsable", f"--job-name=tidy-{mark_of('run-0001')}", "--no-requeue",
        "--export=YEAR=2020,DEA_RUN_ID=run-0001", "--partition=express", "--account=v10", "--array=0-9:3",
        "--time=02:30:00", "--ntasks=1", "--cpus-per-task=4", "--mem=8192M", "--licenses=gdata/v10",
        "--dependency=afterok:1,afterany:2", "--kill-on-invalid-dep=yes", "--output=/scratch/out/%x.o%A.%a",
        "--chdir=/scratch/out",
    )  # fmt: skip
    assert (call.stdin, call.folder) == (b"#!/bin/sh\n", "/scratch/out")


def test_cancelling_what_has_ended_is_no_error_and_what_is_unknown_is_one():
    ended = "scancel: error: Kill job error on job id 1: Job/step already completing or completed"
    assert talk(slurm.cancel("1"), Answer(0, "", ended)) is None
    with pytest.raises(Refused, match="no job '99999'"):
        talk(
            slurm.cancel("99999"),
            Answer(0, "", "scancel: error: Kill job error on job id 99999: Invalid job id specified"),
        )
    with pytest.raises(Refused, match="Access/permission denied"):
        talk(slurm.cancel("1"), Answer(1, "", "scancel: error: Kill job error on job id 1: Access/permission denied"))


def test_that_there_is_no_job_is_proven_only_while_it_would_show():
    kept = Answer(0, "MinJobAge               = 300 sec\n")
    assert talk(slurm.find("tidy-x", "root", 10), Answer(0, "12\n12\n")) == (["12"], True)
    assert talk(slurm.find("tidy-x", "root", 10), Answer(0), OFF, kept) == ([], True)
    assert talk(slurm.find("tidy-x", "root", 3000), Answer(0), OFF, kept) == ([], False)
    assert talk(slurm.find("tidy-x", "root", 3000), Answer(0), Answer(0, "")) == ([], True)
    assert talk(slurm.find("tidy-x", "root", 3000), Answer(0), Answer(0, "13_1\n13_2\n")) == (["13"], True)
