"""Batch jobs the whole way: session, SSH, forced command, a real scheduler, and back, to each job's true end.

The scheduler is a Slurm that is started here, or, where a PBS server is installed (`PBS_CONF_FILE` is set), that one: the
same tests, unchanged.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from dea.raijin import RaijinSession, Retries, Timeouts
from dea.remote.contract import join
from dea.remote.contract.job import Job, parse_cancelled, parse_standing, parse_submitted
from dea.workspace import approval
from dea.workspace.faults import Fault, FaultProxy, session_through
from dea.workspace.sandbox import Sandbox, openssh, sandbox
from tests import slurm
from tests.conftest import ROOT, require

JOBS = {
    "ok": "#!/bin/sh\necho hello\n",
    "fails": "#!/bin/sh\nexit 3\n",
    "fails_late": "#!/bin/sh\nsleep 8\nexit 4\n",
    "killed": "#!/bin/sh\nkill -9 $$\n",
    "long": "#!/bin/sh\nexec sleep 600\n",
    "task": "#!/bin/sh\nexit ${PBS_ARRAY_INDEX:-$SLURM_ARRAY_TASK_ID}\n",
    "shows": '#!/bin/sh\n# variables: SHOWN YEAR\nenv > "$SHOWN.new" && mv "$SHOWN.new" "$SHOWN"\n',
}
CUTS = 12
WITHIN_S = 240  # Slurm looks at time limits every half minute, and knows whole minutes only


@dataclass
class Batch:
    """A login node with a scheduler."""

    box: Sandbox
    kind: str
    server: slurm.Slurm | None

    def submit(self, session: RaijinSession, job: str, run_id: str | None = None, **options: object) -> str:
        options = {"walltime": "00:05:00", "mem": "100MB", **options}
        words = [f"--{name}={value}" for name, values in options.items() for value in _listed(values)]
        result = session.exec_command(join(["submit_job", *words, job]), run_id=run_id or new_id()).check()
        return parse_submitted(result.stdout).job_id

    def seen(self, session: RaijinSession, *ids: str) -> dict[str, Job]:
        result = session.exec_command(join(["job_status", *ids])).check()
        return {job.id: job for job in parse_standing(result.stdout).jobs}

    def named(self, name: str) -> list[str]:
        """Return the ids of the jobs of a name, as the scheduler itself has them."""
        if self.server is not None:
            return self.server.ask("squeue", "--noheader", "--states=all", f"--name={name}", "--format=%i").split()
        done = subprocess.run(["qselect", "-x", "-N", name], capture_output=True, text=True, check=True)
        return done.stdout.split()

    def await_all(self, session: RaijinSession, ids: list[str], is_so: Callable[[Job], bool]) -> dict[str, Job]:
        """Ask for all jobs at once until all are so."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            jobs = self.seen(session, *ids)
            if all(is_so(job) for job in jobs.values()):
                return jobs
            assert time.monotonic() < deadline, jobs
            time.sleep(0.2)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    """A sandbox whose login node submits to a real scheduler."""
    require(openssh.unusable())
    configuration = os.environ.get("PBS_CONF_FILE")
    if configuration is not None and shutil.which("qsub") is None:
        pytest.fail("PBS_CONF_FILE is set, and qsub is not on the path")
    if configuration is None:
        require(slurm.missing())
    root = tmp_path_factory.mktemp("batch")
    ignore = shutil.ignore_patterns("__pycache__")
    for part in ("dea/remote", "raijin_scripts"):
        shutil.copytree(ROOT / part, root / part, ignore=ignore)
    for name, script in JOBS.items():
        (root / "raijin_scripts" / "submit_job" / "jobs" / name).write_text(script)
    environment = {"BATCH_STATUS_INTERVAL_S": "0.5"}
    folders = [*os.environ["PATH"].split(":"), "/usr/local/bin", "/usr/bin", "/bin"]
    with ExitStack() as stack:
        box = stack.enter_context(sandbox("openssh", root=root))
        if configuration is not None:
            _approve(box.checkout, folders, {**environment, "BATCH_SCHEDULER": "pbs", "PBS_CONF_FILE": configuration})
            yield Batch(box, "pbs", None)
            return
        # A short path: munge's socket must have one.
        server = stack.enter_context(slurm.Slurm(tmp_path_factory.mktemp("s")))
        configured = {"BATCH_SCHEDULER": "slurm", "SLURM_CONF": str(server.configuration)}
        _approve(box.checkout, folders, {**environment, **configured})
        yield Batch(box, "slurm", server)


def _approve(root: Path, folders: list[str], environment: dict[str, str]) -> None:
    path = list(dict.fromkeys(folder for folder in folders if folder.startswith("/")))
    site = {"path": path, "timeout": 1740, "environment": environment}
    (root / "raijin_scripts" / "site.yaml").write_text(yaml.safe_dump(site), "utf-8")
    approval.approve("all", root=root)


@pytest.fixture
def session(batch: Batch) -> Iterator[RaijinSession]:
    with batch.box.session() as connected:
        yield connected


@pytest.fixture(scope="module")
def overtime(batch: Batch) -> str:
    """A job that will exceed its walltime: begun first, because that takes longest."""
    with batch.box.session() as session:
        return batch.submit(session, "long", walltime="00:00:05")


def new_id() -> str:
    return f"test-{secrets.token_hex(8)}"


def _listed(values: object) -> list[object]:
    return values if isinstance(values, list) else [values]


def test_jobs_are_followed_to_their_true_ends_by_one_question_for_all(
    batch: Batch, session: RaijinSession, overtime: str
) -> None:
    ids = {
        "ok": batch.submit(session, "ok"),
        "fails": batch.submit(session, "fails"),
        "late": batch.submit(session, "fails_late"),
        "killed": batch.submit(session, "killed"),
        "array": batch.submit(session, "task", array="0-2"),
    }
    waits_for = batch.submit(session, "long")
    ids["never"] = batch.submit(session, "ok", after=[f"afterok:{ids['late']}"])
    waiting = batch.submit(session, "ok", after=[f"afterok:{waits_for}"])
    runs = batch.submit(session, "long")
    batch.await_all(session, [runs, waits_for], lambda job: job.state == "running")
    assert batch.seen(session, waiting)[waiting].state in ("held", "queued")
    for job_id in (waiting, runs):
        parse_cancelled(session.exec_command(f"cancel_job {job_id}").check().stdout)
    ends = batch.await_all(session, [*ids.values(), waiting, runs], lambda job: job.final)
    jobs = {name: ends[job_id] for name, job_id in ids.items()}
    assert (jobs["ok"].state, jobs["ok"].exit_status, jobs["ok"].signal) == ("succeeded", 0, None)
    assert (jobs["fails"].state, jobs["fails"].exit_status) == ("failed", 3)
    assert (jobs["killed"].state, jobs["killed"].signal) == ("failed", 9)
    assert jobs["array"].state == "failed"
    assert "2 of 3 tasks failed" in str(jobs["array"].reason)
    assert (jobs["never"].state, jobs["never"].exit_status, jobs["never"].started) == ("failed", None, None)
    assert "can never be met" in str(jobs["never"].reason)
    assert (ends[waiting].state, ends[runs].state) == ("cancelled", "cancelled")
    assert ends[waiting].started is None
    for name in ("ok", "fails", "killed"):
        job = jobs[name]
        assert None not in (job.submitted, job.started, job.ended)
        assert job.submitted <= job.started <= job.ended  # type: ignore[operator]  # none of them is None
        assert job.name is not None
        assert job.name.startswith(f"{name[:2]}")
    parse_cancelled(session.exec_command(f"cancel_job {waits_for}").check().stdout)


def test_an_id_that_never_was_is_unknown_and_hides_no_other(batch: Batch, session: RaijinSession) -> None:
    job_id = batch.submit(session, "ok")
    number = job_id.partition(".")[0]
    never = job_id.replace(number, "999999")
    jobs = batch.seen(session, never, job_id)
    assert list(jobs) == [never, job_id]
    assert (jobs[never].state, jobs[never].raw_state) == ("unknown", None)
    assert jobs[job_id].state != "unknown"
    assert batch.seen(session, never)[never].state == "unknown"
    assert session.exec_command(f"cancel_job {join([never])}").exit_code == 1


def test_what_slurm_would_take_for_met_or_read_as_another_job_does_no_harm(
    batch: Batch, session: RaijinSession
) -> None:
    if batch.server is None:
        pytest.skip("PBS ends a job whose dependency it does not know, and is asked for numbers alone")
    refused = session.exec_command("submit_job --mem 100MB --after afterok:999999 ok")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "nobody knows the job 999999" in refused.stderr
    victim = batch.submit(session, "long")
    moment = "2026-01-01T00:00:00"
    forged = f"{victim}|N/A|COMPLETED|0|None|normal|v10|1|0|1:00|{moment}|{moment}|{moment}|node1|x"
    said = subprocess.run(
        ["sbatch", "--parsable", "--hold", f"--job-name=x|\n{forged}"],
        env=batch.server.environment, input="#!/bin/sh\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    hostile = said.stdout.strip()
    jobs = batch.seen(session, hostile, victim)
    assert jobs[victim].state in ("queued", "running")
    assert (jobs[hostile].state, jobs[hostile].name) == ("held", f"x|\n{forged}")
    session.exec_command(f"cancel_job {victim}").check()
    batch.server.ask("scancel", hostile)


def test_a_retried_event_gets_the_same_job(batch: Batch, session: RaijinSession) -> None:
    run_id = new_id()
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda _: batch.submit(session, "ok", run_id=run_id), range(8)))
    assert len(set(ids)) == 1


def test_a_job_gets_its_own_variables_and_nothing_of_the_submitters(
    batch: Batch, session: RaijinSession, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    run_id = new_id()
    job_id = batch.submit(session, "shows", run_id=run_id, set=[f"SHOWN={tmp_path}/shown", "YEAR=2020"])
    assert batch.await_all(session, [job_id], lambda job: job.final)[job_id].state == "succeeded"
    lines = dict(line.split("=", 1) for line in (tmp_path / "shown").read_text().splitlines() if "=" in line)
    assert (lines["YEAR"], lines["DEA_RUN_ID"]) == ("2020", run_id)
    assert not {"DEA_COMMAND", "DEA_PREFIX", "BATCH_SCHEDULER", "BATCH_STATUS_INTERVAL_S"} & set(lines)


def test_an_unclear_answer_is_settled_by_asking_the_real_scheduler(
    batch: Batch, session: RaijinSession, tmp_path: Path
) -> None:
    """The submitting program is killed once the scheduler has the job: the job is found by its mark."""
    program = {"slurm": "sbatch", "pbs": "qsub"}[batch.kind]
    real = shutil.which(program)
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / program).write_text(f'#!/bin/sh\n{real} "$@" >{tmp_path}/said\nkill -9 $$\n')
    (broken / program).chmod(0o755)
    root = batch.box.checkout
    site = yaml.safe_load((root / "raijin_scripts" / "site.yaml").read_text("utf-8"))
    try:
        _approve(root, [str(broken), *site["path"]], site["environment"])
        ids = [batch.submit(session, "ok", run_id=new_id()) for _ in range(3)]
    finally:
        _approve(root, site["path"], site["environment"])
    assert len(set(ids)) == 3
    assert (tmp_path / "said").read_text().strip() == ids[-1]
    assert {job.state for job in batch.seen(session, *ids).values()} <= {"queued", "running", "exiting", "succeeded"}


def test_connections_are_cut_between_submit_and_answer_and_each_run_has_one_job(batch: Batch) -> None:
    chance = random.Random(5)
    timeouts = Timeouts(connect=5, handshake=5, authentication=5, channel=5, silence=1, alive=1)
    names = []
    with FaultProxy((batch.box.host, batch.box.port)) as proxy:
        session = session_through(batch.box, proxy, timeouts=timeouts, retries=Retries(base_s=0.05, cap_s=0.5))
        with session:
            for _ in range(CUTS):
                session.connect()
                # Of what comes back, the answer and its receipt are some thousand bytes.
                proxy.arm(Fault("cut", at_byte=chance.randrange(1, 900)))
                result = session.exec_command("submit_job --walltime 0:05:00 --mem 100MB ok", run_id=new_id()).check()
                names.append(parse_submitted(result.stdout).name)
        assert len(proxy.happened) == CUTS
    assert len(set(names)) == CUTS
    for name in names:
        assert len(batch.named(name)) == 1


def test_while_the_scheduler_is_down_nothing_is_lost_or_invented(batch: Batch, session: RaijinSession) -> None:
    if batch.server is None:
        pytest.skip("the PBS server is the site's own: this test does not stop it")
    job_id = batch.submit(session, "ok")
    batch.server.stop_controller()
    try:
        result = session.exec_command(f"job_status {job_id}")
        assert (result.exit_code, result.stdout) == (69, "")
        result = session.exec_command("submit_job --mem 100MB ok")
        assert (result.exit_code, result.stdout) == (69, "")
    finally:
        batch.server.start_controller()
    assert batch.await_all(session, [job_id], lambda job: job.final)[job_id].state == "succeeded"


def test_the_real_commands_run_what_their_module_has(batch: Batch, session: RaijinSession, tmp_path: Path) -> None:
    """execute_clean: the module is loaded on the node, and what it brings is called with the job's variables."""
    tmp_path.chmod(0o777)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "dea-clean").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/cleaned\n')
    (tools / "dea-clean").chmod(0o755)
    modules = tmp_path / "modules.sh"
    modules.write_text(
        f'module() {{ case "$1 $2" in "load dea/1") PATH={tools}:$PATH ;; use*) ;; *) return 1 ;; esac; }}\n'
    )
    root = batch.box.checkout
    site = yaml.safe_load((root / "raijin_scripts" / "site.yaml").read_text("utf-8"))
    words = (
        "execute_clean --search-string product=ls8_nbar_albers --project v10 --mem 1GB --walltime 0:05:00 --dea-module"
    )
    try:
        _approve(root, site["path"], {**site["environment"], "MODULES_INIT": str(modules)})
        refused = session.exec_command(f"{words} dea/2")
        assert (refused.exit_code, refused.stdout) == (1, "")
        result = session.exec_command(f"{words} dea/1").check()
        job_id = parse_submitted(result.stdout).job_id
        job = batch.await_all(session, [job_id], lambda job: job.final)[job_id]
    finally:
        _approve(root, site["path"], site["environment"])
    assert (job.state, job.exit_status) == ("succeeded", 0), job
    assert (tmp_path / "cleaned").read_text() == "indexed --min-trash-age-hours 72 product=ls8_nbar_albers\n"


def test_a_job_that_outlives_its_walltime_has_failed(batch: Batch, session: RaijinSession, overtime: str) -> None:
    """It comes last, so that the others' time is the job's."""
    job = batch.await_all(session, [overtime], lambda job: job.final)[overtime]
    assert (job.state, job.exit_status) == ("failed", None)
    assert "it exceeded its walltime" in str(job.reason)
