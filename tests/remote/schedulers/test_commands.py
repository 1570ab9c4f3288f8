"""The commands that deal with batch jobs, through the gate, on a fake PBS of each version that was captured."""

import json
import re
import shutil

import pytest

from dea.remote.contract import join
from dea.remote.contract.job import parse_cancelled, parse_standing, parse_submitted
from dea.remote.schedulers.commands import main
from dea.remote.schedulers.order import mark_of

pytestmark = pytest.mark.slow  # nox -s remote leaves it to the oldest Python


def submit(cluster, words, run_id=None):
    status, answer, said = cluster.run(f"submit_job {words}", run_id)
    assert status == 0, said
    return parse_submitted(json.dumps(answer))


# What is submitted, how it is seen to stand, and how it ends: state, exit status, signal.
JOBS = {
    "ok": (["queued", "running", "succeeded"], 0, None),
    "fails": (["queued", "running", "failed"], 3, None),
    "killed": (["queued", "running", "failed"], 137, 9),
    "--walltime 0:00:03 long": (["queued", "running", "failed"], None, None),
    "--array 0-2 task": (["queued", "running", "failed"], 1, None),
    "--after afterok:99999 ok": (["failed"], None, None),
    "--after afterok:1 ok": (["held", "failed"], None, None),  # on the one that fails
}


def test_jobs_are_followed_to_their_true_ends(each_cluster):
    cluster = each_cluster
    ids = {words: submit(cluster, words).job_id for words in JOBS}
    seen = {words: [] for words in JOBS}
    for _ in range(6):
        status, answer, said = cluster.run(f"job_status {join(ids.values())}")
        assert status == 0, said
        standing = parse_standing(json.dumps(answer))
        assert [job.id for job in standing.jobs] == list(ids.values())
        for at, words in enumerate(ids):
            job = standing.jobs[at]
            if not seen[words] or seen[words][-1].state != job.state:
                seen[words].append(job)
    ends = {words: ([job.state for job in jobs], jobs[-1].exit_status, jobs[-1].signal) for words, jobs in seen.items()}
    assert ends == JOBS


def test_many_jobs_are_one_question_and_come_in_the_order_asked(each_cluster):
    cluster = each_cluster
    jobs = [submit(cluster, word).job_id for word in ("ok", "fails", "ok")]
    before = len(cluster.server.calls("qstat"))
    status, answer, _ = cluster.run(f"job_status {jobs[2]} 99999 {jobs[0]} {jobs[1]}")
    assert status == 0
    assert [job["id"] for job in answer["jobs"]] == [jobs[2], "99999", jobs[0], jobs[1]]
    assert [job["state"] for job in answer["jobs"]] == ["queued", "unknown", "queued", "queued"]
    questions = cluster.server.calls("qstat")[before:]
    assert len(questions) == (
        1 if cluster.server.version.endswith("23.06.06") else 2
    )  # one bad id hides none of the rest


def test_what_was_asked_for_reaches_the_scheduler(cluster):
    job = submit(
        cluster,
        "--queue express --project v10 --walltime 2:30:00 --ncpus 4 --mem 8GB --storage gdata/v10 --storage scratch/v10"
        " --set YEAR=2020 --name tidy ok",
        run_id="run-0001",
    )
    words = cluster.server.jobs()[0]["words"]
    pairs = [tuple(words[at : at + 2]) for at in range(len(words) - 1)]
    mark = mark_of("run-0001")
    assert job.name == f"tidy-{mark}"
    assert len(job.name) <= 15
    for pair in [
        ("-N", job.name), ("-r", "n"), ("-j", "oe"), ("-q", "express"), ("-P", "v10"), ("-l", "ncpus=4"),
        ("-l", "mem=8192mb"), ("-l", "walltime=02:30:00"), ("-l", "storage=gdata/v10+scratch/v10"),
        ("-v", "YEAR=2020,DEA_RUN_ID=run-0001"),
    ]:  # fmt: skip
        assert pair in pairs
    assert "-V" not in words
    assert cluster.server.jobs()[0]["script"] == "#!/bin/sh\n# variables: YEAR\necho hello\n"
    assert (job.run_id, job.scheduler) == ("run-0001", "pbs")


@pytest.mark.parametrize(
    "request_text",
    [
        "submit_job /etc/passwd",
        "submit_job ../run",
        "submit_job ..",
        "submit_job --script /tmp/x ok",
        "submit_job --jobs /tmp ok",
        "submit_job ok fails",
        "submit_job",
        "submit_job -- ok -- echo",
        "submit_job --walltime 100:00:00 ok",
        "submit_job --ncpus 480 ok",
        "submit_job --mem 9999GB ok",
        "submit_job --set LD_PRELOAD=/x ok",
        "submit_job --set PATH=/x ok",
        "submit_job --set MODULEPATH=/x ok",
        "submit_job --set YEAR=2020 fails",
        "submit_job --set 'A=x,LD_PRELOAD=/x' ok",
        "submit_job --set DEA_RUN_ID=other-run ok",
        "submit_job --after 'afterok:1;id' ok",
        "submit_job --after afterok:1.evil.example.org ok",
        "submit_job --pass x ok",
        "execute_clean --search-string product=x --project v10 --dea-module dea/..",
        "execute_clean --search-string product=x --project v10 --dea-module dea/.modulerc",
        "submit_job --output /etc ok",
        "submit_job --resource x=y ok",
        "submit_job missing",
        "cancel_job --any 1",
        "cancel_job all",
        "job_status -x",
        "job_status ''",
    ],
)
def test_nothing_is_submitted_that_was_not_approved(cluster, request_text):
    status, answer, said = cluster.run(request_text)
    assert status in (1, 2), said
    assert answer is None
    assert "Traceback" not in said
    assert cluster.server.calls() == []


def test_a_job_whose_script_was_changed_since_it_was_approved_is_refused(cluster):
    job = cluster.gate.scripts / "submit_job" / "jobs" / "ok"
    job.write_text("#!/bin/sh\nrm -rf /\n")
    status, _, said = cluster.run("submit_job ok")
    assert status == 126
    assert "jobs/ok" in said
    assert cluster.server.calls() == []


def test_a_retried_event_gets_the_same_job(cluster):
    first = cluster.run("submit_job ok", "run-0001")
    assert cluster.run("submit_job ok", "run-0001")[:2] == first[:2]
    assert len(cluster.server.jobs()) == 1


@pytest.mark.parametrize("fault", ["cut", "lost"])
def test_an_unclear_answer_is_settled_by_asking(cluster, fault):
    cluster.fault(qsub=fault)
    status, answer, said = cluster.run("submit_job ok", "run-0001")
    assert (status, answer["job_id"]) == (0, "0.gadi-pbs"), said
    assert len(cluster.server.jobs()) == 1


def test_what_cannot_be_settled_is_said_to_be_unknown_and_asked_for_by_the_next_attempt(cluster):
    (cluster.server.folder / "no_history").touch()
    cluster.fault(qsub="cut")
    status, answer, said = cluster.run("submit_job ok", "run-0001")
    assert (status, answer) == (76, None)
    assert "another attempt of this run" in said
    assert len(cluster.server.jobs()) == 1
    # Still nobody can tell: nothing is sent.
    status, answer, said = cluster.run("--rerun run-0001", "run-0002")
    assert (status, answer) == (76, None)
    assert "run-0001 may have submitted" in said
    cluster.fault(qselect="down")
    assert cluster.run("--rerun run-0001", "run-0003")[0] == 76
    assert len(cluster.server.calls("qsub")) == 1
    # Now it is told: the job is the one that is there.
    (cluster.server.folder / "no_history").unlink()
    cluster.fault()
    status, answer, said = cluster.run("--rerun run-0001", "run-0004")
    assert (status, answer["job_id"]) == (0, "0.gadi-pbs"), said
    assert len(cluster.server.calls("qsub")) == 1
    # A further attempt is explicit, and is a further job: the last one's end is known.
    status, answer, said = cluster.run("--rerun run-0001", "run-0005")
    assert (status, answer["job_id"]) == (0, "1.gadi-pbs"), said


def test_a_server_that_is_down_has_taken_nothing_and_the_next_attempt_submits(cluster):
    cluster.fault(qsub="down", qstat="down", qdel="down", qselect="down")
    status, answer, said = cluster.run("submit_job ok", "run-0001")
    assert (status, answer) == (69, None)
    assert "cannot connect" in said
    status, answer, said = cluster.run("job_status 1.gadi-pbs")
    assert (status, answer) == (69, None)
    cluster.fault()
    status, answer, said = cluster.run("--rerun run-0001", "run-0002")
    assert (status, answer["job_id"]) == (0, "0.gadi-pbs"), said


def test_what_the_scheduler_refuses_is_an_error_with_its_own_words(cluster):
    status, answer, said = cluster.run("submit_job --queue nope ok", "run-0001")
    assert (status, answer) == (1, None)
    assert "Unknown queue" in said
    assert cluster.server.jobs() == {}


def test_a_job_that_was_taken_and_vanished_is_found_out(cluster):
    """A routing queue: qsub says 0 and an id, and then nobody knows it."""
    cluster.fault(qsub="vanish")
    job = submit(cluster, "ok", run_id="run-0001")
    status, answer, _ = cluster.run(f"job_status {job.job_id}")
    assert status == 0
    (seen,) = answer["jobs"]
    assert (seen["state"], seen["name"]) == ("unknown", job.name)
    assert re.search(r"submitted at 2.*Z, and not seen since", seen["reason"])


def test_a_known_end_stays_when_the_scheduler_forgets_or_denies_it(cluster):
    job = submit(cluster, "fails").job_id
    while cluster.state_of(job) != ["failed"]:
        pass
    (cluster.server.folder / "forgotten").touch()
    status, answer, _ = cluster.run(f"job_status {job}")
    assert status == 0
    assert (answer["jobs"][0]["state"], answer["jobs"][0]["exit_status"]) == ("failed", 3)
    (cluster.server.folder / "forgotten").unlink()
    number = int(job.partition(".")[0])
    cluster.server.put(number, {**cluster.server.jobs()[number], "stage": 0})
    assert cluster.state_of(job) == ["failed"]


def test_what_ran_and_is_forgotten_is_unknown_and_keeps_what_was_seen(cluster):
    job = submit(cluster, "long").job_id
    assert cluster.state_of(job) == ["queued"]
    assert cluster.state_of(job) == ["running"]
    (cluster.server.folder / "forgotten").touch()
    _, answer, _ = cluster.run(f"job_status {job}")
    assert (answer["jobs"][0]["state"], answer["jobs"][0]["host"]) == ("unknown", "localhost")


def test_a_job_is_cancelled_while_it_waits_and_while_it_runs(cluster):
    waits = submit(cluster, "long").job_id
    status, answer, said = cluster.run(f"cancel_job {waits}")
    assert status == 0, said
    job = parse_cancelled(json.dumps(answer))
    assert (job.id, job.state, job.signal) == (waits, "cancelled", None)
    runs = submit(cluster, "long").job_id
    while cluster.state_of(runs) != ["running"]:
        pass
    _, answer, _ = cluster.run(f"cancel_job {runs}")
    job = parse_cancelled(json.dumps(answer))
    assert (job.state, job.signal) == ("cancelled", 15)
    # Asked for again, it is no error.
    assert cluster.run(f"cancel_job {runs}")[0] == 0


def test_only_jobs_that_were_submitted_from_here_can_be_cancelled(cluster):
    others = submit(cluster, "long").job_id
    (cluster.gate.state / "jobs" / "own" / others).unlink()
    status, answer, said = cluster.run(f"cancel_job {others}")
    assert (status, answer) == (1, None)
    assert "not submitted from here" in said
    assert cluster.server.calls("qdel") == []


def test_the_real_commands_submit_a_job_with_their_variables_and_resources(cluster):
    status, answer, said = cluster.run(
        "execute_clean --search-string product=ls8_nbar_albers --dea-module dea/20230710 --project v10 --storage gdata/v10",
        "run-0001",
    )
    assert status == 0, said
    parse_submitted(json.dumps(answer))
    job = cluster.server.jobs()[0]
    assert job["variables"] == (
        "MIN_TRASH_AGE_HOURS=72,SEARCH_STRING=product=ls8_nbar_albers,DEA_MODULE=dea/20230710,"
        "MODULES_INIT=/etc/profile.d/modules.sh,MODULE_FOLDER=/g/data/v10/public/modules/modulefiles,DEA_RUN_ID=run-0001"
    )
    assert job["script"] == (cluster.gate.scripts / "execute_clean" / "job").read_text()
    assert {"walltime=02:00:00", "ncpus=1", "mem=4096mb", "storage=gdata/v10"} <= set(job["words"])


@pytest.mark.parametrize(
    "request_text",
    [
        "execute_ingest --product ls8_nbar_albers --year 2020 --dea-module dea/1 --project v10",
        "execute_stacker --app-config ls8_nbar_albers.yaml --year 2020 --dea-module dea/1 --project v10",
    ],
)
def test_the_other_real_commands_submit_too(cluster, request_text):
    status, answer, said = cluster.run(request_text)
    assert status == 0, said
    assert answer["run_id"] is None
    assert "YEAR=2020" in cluster.server.jobs()[0]["variables"]


def test_a_module_that_is_not_there_is_found_out_before_anything_is_queued(cluster, tmp_path):
    modules = tmp_path / "modules.sh"
    modules.write_text('module() { [ "$1" = use ] || [ "$2" = dea/1 ] || { echo "no module $2" >&2; return 1; }; }\n')
    cluster.describe_site(MODULES_INIT=str(modules))
    request = "execute_clean --search-string product=x --project v10 --dea-module"
    status, answer, said = cluster.run(f"{request} dea/2")
    assert (status, answer) == (1, None)
    assert "no module dea/2" in said
    assert cluster.server.calls() == []
    assert cluster.run(f"{request} dea/1")[0] == 0


def test_the_scheduler_is_the_first_on_the_path_unless_the_site_says(cluster, tmp_path):
    assert cluster.run("submit_job ok")[1]["scheduler"] == "pbs"
    # Beside an sbatch, a qsub is Slurm's own.
    sbatch = tmp_path / "pbs" / "bin" / "sbatch"
    sbatch.write_text("#!/bin/sh\ncat > /dev/null\necho 12\n")
    sbatch.chmod(0o755)
    assert cluster.run("submit_job ok")[1]["scheduler"] == "slurm"
    cluster.describe_site(BATCH_SCHEDULER="pbs")
    assert cluster.run("submit_job ok")[1]["scheduler"] == "pbs"
    cluster.describe_site(BATCH_SCHEDULER="lsf")
    assert "one of pbs, slurm" in cluster.run("submit_job ok")[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("submit --script /nonexistent", "--script: there is no file '/nonexistent'"),
        ("submit", "Name a --script, or a command after --"),
        ("submit --walltime 1h -- echo", "--walltime: '1h' is not HH:MM:SS"),
        ("status foo", "it looks like 12.server, 12[3].server or 12_3"),
    ],
)
def test_by_hand_a_mistake_is_one_line_that_says_what_to_do(words, said, capsys, monkeypatch):
    monkeypatch.delenv("DEA_PREFIX", raising=False)
    assert main(words.split()) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_a_site_without_a_scheduler_says_so(cluster, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "python3").symlink_to(shutil.which("python3"))
    cluster.path = str(empty)
    cluster.describe_site()
    status, _, said = cluster.run("submit_job ok")
    assert status == 1
    assert "neither qsub nor sbatch" in said
