"""A gate whose login node has a fake PBS, and the commands that deal with batch jobs."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.remote.schedulers import fake_pbs

ROOT = Path(__file__).parents[3]
COMMANDS = ("submit_job", "job_status", "cancel_job", "execute_clean", "execute_ingest", "execute_stacker")
JOBS = {
    "ok": "#!/bin/sh\n# variables: YEAR\necho hello\n",
    "fails": "#!/bin/sh\nexit 3\n",
    "killed": "#!/bin/sh\nkill -9 $$\n",
    "long": "#!/bin/sh\nsleep 600\n",
    "task": "#!/bin/sh\nexit ${PBS_ARRAY_INDEX:-$SLURM_ARRAY_TASK_ID}\n",
}


class Cluster:
    """A login node with a fake PBS."""

    def __init__(self, gate, folder, version):
        self.gate = gate
        programs = fake_pbs.install(folder, version)
        self.server = fake_pbs.Server(folder / "server", version)
        self.path = f"{programs}:{os.environ['PATH']}"
        self.environment = {"BATCH_STATUS_INTERVAL_S": "0"}
        for name in COMMANDS:
            shutil.copytree(ROOT / "raijin_scripts" / name, gate.scripts / name)
        for name, script in JOBS.items():
            job = gate.scripts / "submit_job" / "jobs" / name
            job.write_text(script)
        for name in COMMANDS:
            approved = json.loads((gate.scripts / name / "approved.json").read_text())
            gate.approve(name, **{key: approved[key] for key in ("arguments", "environment", "schema")})
        self.describe_site()

    def describe_site(self, **environment):
        self.environment.update(environment)
        self.gate.describe_site(path=self.path, environment=self.environment)

    def fault(self, **faults):
        """Have programs fail: `qsub="cut"`."""
        (self.server.folder / "fault").write_text(json.dumps(faults))

    def run(self, request, run_id=None):
        """Send a request; return its exit status, what it printed (as JSON, where it is), and what it said."""
        done = self.gate(f"--run-id {run_id} {request}" if run_id else request)
        return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr

    def state_of(self, *job_ids):
        """Return the states of jobs."""
        status, answer, said = self.run(f"job_status {' '.join(job_ids)}")
        assert status == 0, said
        return [job["state"] for job in answer["jobs"]]


@pytest.fixture(params=[fake_pbs.RELEASE, fake_pbs.MASTER])
def version(request):
    """Each captured version of PBS."""
    return request.param


@pytest.fixture
def cluster(gate, tmp_path):
    """A login node with a fake PBS of the release."""
    folder = tmp_path / "pbs"
    folder.mkdir()
    return Cluster(gate, folder, fake_pbs.RELEASE)


@pytest.fixture
def each_cluster(gate, tmp_path, version):
    """A login node with a fake PBS of each version."""
    folder = tmp_path / "pbs"
    folder.mkdir()
    return Cluster(gate, folder, version)
