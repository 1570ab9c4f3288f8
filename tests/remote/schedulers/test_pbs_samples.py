"""Every file that was captured from real servers, read: what it says of its jobs, and what it does not."""

import json

import pytest

from dea.remote.contract.job import Asked, Used, parse_job
from dea.remote.schedulers import pbs
from dea.remote.schedulers.calls import Answer
from dea.remote.schedulers.errors import Refused, Uncertain, Unreachable
from dea.remote.schedulers.pbs_jobs import Unreadable, read_json, read_text
from tests.remote.schedulers.captured import FILES, MASTER, RELEASE, SAMPLES, answer, errors, talk

# What each captured job comes to: state, exit status, signal, part of the reason.
JOBS = {
    "finished_ok": ("succeeded", 0, None, "finished"),
    "finished_failed_exit3": ("failed", 3, None, "failed"),
    "finished_signal9": ("failed", 137, 9, "failed"),
    "finished_127": ("failed", 127, None, "failed"),
    "deleted_running": ("cancelled", None, 15, "terminated by ab1234"),
    "deleted_queued": ("cancelled", None, None, "terminated"),
    "walltime_exceeded": ("failed", None, None, "it exceeded its walltime (PBS's status -29)"),
    "bad_dependency": ("failed", None, None, "it never ran: what it depends on (afterok:99999.gadi-pbs@localhost)"),
    "dep_finished": ("succeeded", 0, None, "finished"),
    "queued": ("queued", None, None, "Queue not started"),
    "queued_cannot_run": ("queued", None, None, "Can Never Run"),
    "waiting": ("queued", None, None, ""),
    "held": ("held", None, None, "held by its user"),
    "held_dependency": ("held", None, None, "afterok:"),
    "running": ("running", None, None, "Job run at"),
    "running_x": ("running", None, None, "Job run at"),
    "array_running": ("running", None, None, "Began"),
    "array_running_t": ("running", None, None, "Began"),
    "array_finished_t": ("failed", 1, None, "2 of 3 tasks failed: "),
    "array_finished": ("failed", 1, None, "failed"),
}
# Files of several jobs, of errors, or broken; each has a test of its own below.
OTHERS = {
    "all", "multi", "edge_invalid_vars_utf", "qsub_errors", "err_badid", "err_mixed", "err_qdel_finished", "err_qdel_unknown",
    "err_qsub_queue", "err_qsub_res", "err_qsub_walltime", "err_unknown", "err_unknown_plain", "qstat_finished_without_x",
    "routing_rejected_vanished", "server_down",
}  # fmt: skip


def name_of(path):
    return path.name.rpartition(".")[0].replace("_text", "")


def test_no_captured_file_is_left_out():
    assert {name_of(path) for path in FILES} == set(JOBS) | OTHERS
    assert len(FILES) == 78


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if name_of(path) in JOBS],
    ids=lambda path: str(path.relative_to(SAMPLES)),
)
def test_a_captured_job_is_what_it_was(path):
    state, exit_status, signal, reason = JOBS[name_of(path)]
    text = answer(path).stdout
    found = read_json(text) if path.suffix == ".json" else read_text(text)
    job_id = f"{next(iter(found))}.gadi-pbs"
    # As text or as JSON, the same conversation leads here.
    given = [answer(path)] if path.suffix == ".json" else [Answer(0, "no JSON"), answer(path)]
    job = talk(pbs.status([job_id]), *given)[job_id]
    assert (job.id, job.state, job.exit_status, job.signal) == (job_id, state, exit_status, signal)
    assert reason in (job.reason or "")
    assert parse_job(job.encode()) == job
    assert job.submitted.startswith("2026-11-23T21:")
    assert (job.ended is not None) == job.final


@pytest.mark.parametrize("folder", [RELEASE, MASTER], ids=["release", "master"])
def test_all_of_a_finished_job_is_read(folder):
    text, (job_id,) = answer(folder / "finished_ok.json"), jobs_of(folder / "finished_ok.json")
    job = talk(pbs.status([job_id]), text)[job_id]
    assert (job.name, job.queue, job.project, job.host, job.raw_state) == (
        "ok",
        "normal-exec",
        "ab12",
        "localhost",
        "F",
    )
    assert job.asked == Asked(1, 190 << 20, 300)
    assert (job.used.cpu_s, job.used.walltime_s) == (0.0, 1)
    assert job.used.mem_bytes in (6928 << 10, 7300 << 10)
    assert job.submitted == job.started < job.ended
    assert talk(pbs.status([job_id]), Answer(0, "no JSON"), answer(folder / "finished_ok_text.txt"))[job_id] == job


def jobs_of(path):
    return [f"{key}.gadi-pbs" for key in read_json(answer(path).stdout)]


@pytest.mark.parametrize("folder", [RELEASE, MASTER], ids=["release", "master"])
def test_all_jobs_of_one_answer_are_told_apart(folder):
    ids = jobs_of(folder / "all.json")
    jobs = talk(pbs.status(ids), answer(folder / "all.json"))
    assert len(jobs) == 14
    assert {job.state for job in jobs.values()} >= {"succeeded", "failed", "cancelled", "queued", "held"}
    assert (
        sum(job.state == "succeeded" for job in jobs.values()) == 3
    )  # what ran, what it waited for, and what depended


def test_several_queued_jobs_are_one_answer():
    jobs = talk(pbs.status(["23.gadi-pbs", "24"]), answer(RELEASE / "multi.json"))
    assert [(job.id, job.state, job.project) for job in jobs.values()] == [
        ("23.gadi-pbs", "queued", None),
        ("24", "queued", None),
    ]


def test_a_value_that_breaks_the_json_is_asked_for_as_text():
    with pytest.raises(Unreadable):
        read_json(answer(RELEASE / "edge_invalid_vars_utf.txt").stdout)
    broken, text = answer(RELEASE / "edge_invalid_vars_utf.txt"), answer(RELEASE / "queued_text.txt")
    asked = []
    jobs = talk(pbs.status(["0.gadi-pbs"]), broken, text, asked=asked)
    assert asked == [
        ("qstat", "-x", "-f", "-F", "json", "0"),
        ("qstat", "-x", "-f", "0"),
    ]
    assert jobs["0.gadi-pbs"].state == "queued"


def test_an_unknown_id_does_not_hide_the_others_and_is_not_done():
    jobs = talk(pbs.status(["6.gadi-pbs", "99999", "7.gadi-pbs"]), answer(RELEASE / "err_mixed.out"))
    assert [job.state for job in jobs.values()] == ["succeeded", "unknown", "failed"]
    alone = talk(pbs.status(["99999.gadi-pbs"]), answer(RELEASE / "err_unknown.out"))
    assert alone["99999.gadi-pbs"].state == "unknown"


def test_what_a_version_leaves_out_of_its_answer_is_asked_for_again():
    """The newer server prints the first of several jobs only, and says nothing of the rest."""
    asked = []
    text = Answer(0, answer(MASTER / "finished_failed_exit3_text.txt").stdout)
    jobs = talk(pbs.status(["8.gadi-pbs", "99999", "9.gadi-pbs"]), answer(MASTER / "err_mixed.out"), text, asked=asked)
    assert asked[1] == ("qstat", "-x", "-f", "9")
    assert [(job.state, job.exit_status) for job in jobs.values()] == [
        ("succeeded", 0),
        ("unknown", None),
        ("failed", 3),
    ]


@pytest.mark.parametrize("folder", [RELEASE, MASTER], ids=["release", "master"])
def test_an_id_that_never_was_is_unknown_in_every_form(folder):
    assert talk(pbs.status(["99999.gadi-pbs"]), answer(folder / "err_unknown.out"))["99999.gadi-pbs"].state == "unknown"
    plain = answer(folder / "err_unknown_plain.out")
    assert talk(pbs.status(["99999"]), plain)["99999"].state == "unknown"


def test_a_job_that_a_routing_queue_threw_out_is_unknown():
    jobs = talk(pbs.status(["1.gadi-pbs"]), answer(RELEASE / "routing_rejected_vanished.out"))
    assert jobs["1.gadi-pbs"].state == "unknown"


def test_a_server_that_is_down_is_no_answer_though_it_looks_like_one():
    with pytest.raises(Unreachable, match="cannot connect to server"):
        talk(pbs.status(["1.gadi-pbs"]), answer(RELEASE / "server_down.out"))
    with pytest.raises(Unreachable, match="cannot connect"):
        talk(pbs.find("exec-k3j5h2m9xq", "ab1234", 0), answer(RELEASE / "server_down.out"))


@pytest.mark.parametrize("folder", [RELEASE, MASTER], ids=["release", "master"])
def test_history_is_always_asked_for(folder):
    """Without -x a finished job is an error: what was captured shows it, and it is never taken for success."""
    job_id = "6.gadi-pbs" if folder == RELEASE else "8.gadi-pbs"
    asked = []
    jobs = talk(pbs.status([job_id]), answer(folder / "qstat_finished_without_x.out"), Answer(0), asked=asked)
    assert "-x" in asked[0]
    assert "-x" in asked[1]
    assert jobs[job_id].state == "unknown"


@pytest.mark.parametrize("folder", [RELEASE, MASTER], ids=["release", "master"])
def test_what_is_no_job_is_an_error_and_never_an_answer(folder):
    with pytest.raises(Unreachable, match="Unknown queue destination"):
        talk(pbs.status(["1"]), answer(folder / "err_badid.out"))


def test_a_complaint_of_one_id_is_an_answer_about_the_others():
    said = Answer(1, answer(RELEASE / "finished_ok.json").stdout, "qstat: illegally formed job identifier: 12_3\n")
    jobs = talk(
        pbs.status(["12_3", "6.gadi-pbs"]), said, Answer(1, "", "qstat: illegally formed job identifier: 12_3\n")
    )
    assert [job.state for job in jobs.values()] == ["unknown", "succeeded"]


@pytest.mark.parametrize("folder", [RELEASE, MASTER], ids=["release", "master"])
def test_cancelling_what_has_ended_is_no_error_and_what_is_unknown_is_one(folder):
    job_id = "6.gadi-pbs" if folder == RELEASE else "8.gadi-pbs"
    assert talk(pbs.cancel(job_id), answer(folder / "err_qdel_finished.out")) is None
    with pytest.raises(Refused, match="no job '99999'"):
        talk(pbs.cancel("99999"), answer(folder / "err_qdel_unknown.out"))


@pytest.mark.parametrize("folder", [RELEASE, MASTER], ids=["release", "master"])
@pytest.mark.parametrize("name", ["err_qsub_queue", "err_qsub_res", "err_qsub_walltime"])
def test_what_qsub_refuses_by_itself_was_not_submitted(folder, name):
    with pytest.raises(Refused, match="script not a file"):
        pbs.submitted(answer(folder / f"{name}.out"))


def test_what_the_server_refused_was_not_submitted_and_what_it_took_was():
    outcomes = {}
    for words, said in errors(RELEASE / "qsub_errors.txt").items():
        try:
            outcomes[words] = pbs.submitted(said)
        except (Refused, Uncertain) as error:
            outcomes[words] = type(error)
    assert outcomes == {
        "qsub -q nope": Refused,
        "qsub -l mem=abc": Refused,
        "qsub -q normal-exec": Refused,
        # A routing queue throws these out later: that they vanished is found out by asking.
        "qsub -l walltime=99:00:00": "158.gadi-pbs",
        "qsub -l ncpus=1000": "159.gadi-pbs",
        "qsub -l nosuch=1": "160.gadi-pbs",
        "qsub -W depend=afterok:99999": "161.gadi-pbs",
        "qsub -N a;b": Refused,
    }


@pytest.mark.parametrize(
    "said",
    [
        Answer(None),
        Answer(-9),
        Answer(0, ""),
        Answer(0, "qsub: waiting for job to start\n"),
        Answer(162, "", "qsub: System error occurred"),
        Answer(183, "", "qsub: Protocol error"),
        Answer(1, "", ""),
        Answer(255, "", "qsub: End of file"),
        Answer(
            162, "", "Connection refused\nqsub: System error occurred"
        ),  # the first of two servers, and then the second
    ],
    ids=str,
)
def test_whatever_is_not_surely_a_refusal_is_uncertain(said):
    with pytest.raises(Uncertain):
        pbs.submitted(said)


@pytest.mark.parametrize("status", [32, 38, 39, 212])
def test_what_a_hook_or_a_limit_refuses_is_refused(status):
    with pytest.raises(Refused, match="no gdata in storage"):
        pbs.submitted(Answer(status, "", "qsub: no gdata in storage"))


@pytest.mark.parametrize(
    ("server", "since_s", "proven"),
    [
        ("job_history_enable = True", 13 * 86400, True),
        ("job_history_enable = True", 15 * 86400, False),
        ("job_history_enable = True\n    job_history_duration = 24:00:00", 3600, True),
        ("job_history_enable = True\n    job_history_duration = 24:00:00", 2 * 86400, False),
        ("job_history_enable = False", 0, False),
        ("server_state = Active", 0, False),
    ],
)
def test_that_there_is_no_job_is_proven_only_while_the_history_would_show_it(server, since_s, proven):
    told = Answer(0, f"Server: gadi-pbs\n    {server}\n")
    assert talk(pbs.find("exec-k3j5h2m9xq", "ab1234", since_s), Answer(0), told) == ([], proven)


def test_a_server_that_cannot_be_reached_has_no_job():
    down = answer(RELEASE / "server_down.out")
    with pytest.raises(Unreachable):
        pbs.submitted(Answer(down.status, "", down.stderr.replace("qstat", "qsub")))


@pytest.mark.parametrize("folder", [RELEASE, MASTER], ids=["release", "master"])
def test_an_array_is_asked_for_with_its_tasks_and_succeeds_only_with_all_of_them(folder):
    done = answer(folder / "array_finished_t.json")
    job_id = jobs_of(folder / "array_finished_t.json")[0]
    asked = []
    assert talk(pbs.status([job_id]), done, asked=asked)[job_id].state == "failed"
    assert "-t" in asked[0]
    all_good = done.stdout.replace('"Exit_status":1', '"Exit_status":0').replace('"Exit_status":2', '"Exit_status":0')
    all_good = all_good.replace('"Exit_status":\t1', '"Exit_status":0').replace('"Exit_status":\t2', '"Exit_status":0')
    assert talk(pbs.status([job_id]), Answer(0, all_good))[job_id].state == "succeeded"
    # Of a task that is left out nobody knows how it ended.
    document = json.loads(all_good)
    del document["Jobs"][f"{job_id.partition('[')[0]}[1].gadi-pbs"]
    assert talk(pbs.status([job_id]), Answer(0, json.dumps(document)))[job_id].state == "unknown"
    # A parent that claims success says it of its last task alone.
    parent = answer(folder / "array_finished.json").stdout
    parent = parent.replace('"Exit_status":1', '"Exit_status":0').replace('"Exit_status":\t1', '"Exit_status":0')
    assert talk(pbs.status([job_id]), Answer(0, parent))[job_id].state == "unknown"
    task = f"{job_id.partition('[')[0]}[1].gadi-pbs"
    assert talk(pbs.status([task]), done)[task].exit_status == 1


def test_no_other_server_is_asked_whatever_an_id_names():
    """The server in an id, 6.evil.example.org say, is one that qstat connects to, waits for, and is answered by."""
    asked = []
    sample = answer(RELEASE / "finished_ok.json")
    jobs = talk(pbs.status(["6.evil.example.org", "6.gadi-pbs", "6"]), sample, asked=asked)
    assert asked == [("qstat", "-x", "-f", "-F", "json", "6")]
    assert [job.state for job in jobs.values()] == ["unknown", "succeeded", "succeeded"]
    assert "is 6.gadi-pbs" in jobs["6.evil.example.org"].reason


def text_of(job_id, state, variables="A=1"):
    ended = "    Exit_status = 0\n" if state == "F" else ""
    return f"Job Id: {job_id}\n    Job_Name = x\n    job_state = {state}\n{ended}    Variable_List = {variables}\n\n"


def test_a_variable_that_reads_as_another_job_fools_nobody():
    forging = text_of("1.gadi-pbs", "R", f"A=\n\n{text_of('2.gadi-pbs', 'F')}{text_of('3.gadi-pbs', 'F')}")
    said = Answer(153, forging + text_of("2.gadi-pbs", "R"), "qstat: Unknown Job Id 3.gadi-pbs\n")
    jobs = talk(pbs.status(["1.gadi-pbs", "2.gadi-pbs", "3.gadi-pbs"]), Answer(0, "no JSON"), said)
    assert [job.state for job in jobs.values()] == ["running", "unknown", "unknown"]
    # In JSON it would be an entry that is there twice: then the text is asked for.
    twice = '{"Jobs":{"2.gadi-pbs":{"job_state":"F","Exit_status":0},"2.gadi-pbs":{"job_state":"R"}}}'
    again = Answer(0, text_of("2.gadi-pbs", "R"))
    assert talk(pbs.status(["2.gadi-pbs"]), Answer(0, twice), again)["2.gadi-pbs"].state == "running"


@pytest.mark.parametrize("digits", [400, 4096])
def test_a_number_that_nothing_holds_is_none_and_spoils_no_other(digits):
    much = "9" * digits
    attributes = {"job_state": "R", "Resource_List": dict.fromkeys(("ncpus", "mem", "walltime"), much)}
    job = pbs.job_from(
        "1.gadi-pbs", {**attributes, "resources_used": {"cput": f"{much}:00:00", "mem": f"{much}kb"}}, {}
    )
    assert (job.state, job.asked, job.used) == ("running", Asked(), Used())


def test_numbers_that_are_names_stay_names():
    text = answer(RELEASE / "queued.json").stdout.replace('"Job_Name":"queued"', '"Job_Name":123')
    assert talk(pbs.status(["0.gadi-pbs"]), Answer(0, text))["0.gadi-pbs"].name == "123"


def test_used_is_empty_for_what_never_ran():
    job = talk(pbs.status(["10.gadi-pbs"]), answer(RELEASE / "deleted_queued.json"))["10.gadi-pbs"]
    assert (job.used, job.started, job.ended) == (Used(), None, "2026-11-23T21:35:53Z")


@pytest.mark.parametrize(
    ("attributes", "state"),
    [
        ({"job_state": "F"}, "failed"),  # it never began
        ({"job_state": "F", "stime": "Mon Nov 23 21:35:42 2026"}, "unknown"),  # it did, and no status: never success
        ({"job_state": "F", "Exit_status": ""}, "failed"),
        ({"job_state": "F", "Exit_status": "0", "substate": "91"}, "cancelled"),
        ({"job_state": "F", "Exit_status": "-99"}, "failed"),
        ({"job_state": "X"}, "exiting"),
        ({"job_state": "X", "Exit_status": "0"}, "succeeded"),
        ({"job_state": "M"}, "unknown"),
        ({"job_state": "?"}, "unknown"),
        ({}, "unknown"),
        ({"job_state": "E", "Exit_status": "0"}, "exiting"),
    ],
)
def test_no_state_is_success_without_an_exit_status(attributes, state):
    assert pbs.job_from("1.gadi-pbs", attributes, {}).state == state
