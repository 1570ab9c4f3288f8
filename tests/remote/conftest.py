"""A checkout of its own behind a forced command."""

import collections
import compileall
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dea.remote.contract import take_receipt
from tests.remote.approvals import write_approval

ROOT = Path(__file__).parents[2]
Answer = collections.namedtuple("Answer", "stdout stderr receipt status")
ECHO = """#!/bin/sh
printf '%s|' "$@"
"""


class Gate:
    """A checkout of its own behind a forced command."""

    def __init__(self, folder: Path, remote: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.checkout = folder / "checkout"
        self.scripts = self.checkout / "raijin_scripts"
        self.scripts.mkdir(parents=True)
        # A copy, so that the checkout is the one with the test's commands.
        shutil.copytree(remote, self.checkout / "dea" / "remote")
        self.program = (sys.executable, "-I", "-S", str(self.checkout / "dea" / "remote" / "__main__.py"))
        self.options = ("--key", "test", "--home", str(self.home))
        self.state = self.home / ".dea-orchestration"
        self.add("echo_args", ECHO)

    def add(self, name, script, mode=0o755, approve=True, **document):
        """Add a command; approve it unless told otherwise, for any arguments unless told otherwise."""
        run = self.scripts / name / "run"
        run.parent.mkdir()
        run.write_text(script)
        run.chmod(mode)
        if approve:
            self.approve(name, **document)
        return run

    def approve(self, name, **changes):
        """Write what `inv approve` writes."""
        return write_approval(self.scripts / name, **changes)

    def describe_site(self, **document):
        """Write a `site.yaml` and its approval."""
        site = self.scripts / "site.yaml"
        site.write_text("# for a test\n")
        digest = hashlib.sha256(site.read_bytes()).hexdigest()
        document = {"format": 1, "site": "site", "environment": {}, "files": {"site.yaml": digest}, **document}
        (self.scripts / "site.approved.json").write_text(json.dumps(document))

    def __call__(self, request, *options, **settings):
        """Send a request through the gate."""
        return self.start(
            *(options or self.options), env=self.environment(request, settings.pop("env", {})), **settings
        )

    def environment(self, request, more=()):
        """Return the environment that sshd would start the dispatcher with, for a request."""
        environment = {"PATH": os.environ["PATH"], **dict(more)}
        if request is not None:
            environment["SSH_ORIGINAL_COMMAND"] = request
        return environment

    def start(self, *arguments, **settings):
        """Start the dispatcher with these arguments."""
        settings = {"capture_output": True, "text": True, "timeout": 30, **settings}
        return subprocess.run([*self.program, *arguments], check=False, **settings)

    def popen(self, request, *options, **settings):
        """Start the dispatcher for a request and do not wait for its end; with more options of the forced command."""
        return subprocess.Popen([*self.program, *self.options, *options], env=self.environment(request), **settings)

    def ask(self, request, *options, **settings):
        """Send a request about a run; return stdout, stderr without the receipt, the receipt, and the exit status."""
        done = self(request, *self.options, *options, text=False, **settings)
        word = next(word for word in ("--run-id", "--result", "--cancel") if word in request)
        stderr, receipt = take_receipt(done.stderr, request.split(word)[1].split()[0].lstrip("="))
        return Answer(done.stdout, stderr, receipt, done.returncode)

    def run_folder(self, run_id):
        """Return the folder of one of the key's runs."""
        return self.state / "runs" / "key-test" / run_id

    def starts(self):
        """Return how often a command was started that adds a line to `starts` in its home folder each time."""
        path = self.home / "starts"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def logs(self):
        """Return the audit log's files."""
        return sorted((self.state / "audit").glob("*.jsonl"))

    def audit(self):
        """Return the audit log's lines."""
        return [json.loads(line) for path in self.logs() for line in path.read_text().splitlines()]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """The dispatcher with its compiled modules, as after its first run: most of a test's time would go into making them."""
    remote = tmp_path_factory.mktemp("compiled") / "dea" / "remote"
    former = os.umask(0o022)
    shutil.copytree(ROOT / "dea" / "remote", remote, ignore=shutil.ignore_patterns("__pycache__"))
    assert compileall.compile_dir(remote, quiet=1)
    os.umask(former)
    return remote


@pytest.fixture
def gate(tmp_path, compiled):
    former = os.umask(0o022)  # what others can write is refused, which many a developer's umask would make of it
    yield Gate(tmp_path, compiled)
    os.umask(former)


@pytest.fixture
def until():
    """Wait until something is true, up to a deadline; return what it was."""

    def wait(condition, within_s=20):
        deadline = time.monotonic() + within_s
        while True:
            value = condition()
            if value:
                return value
            assert time.monotonic() < deadline, "it never became true"
            time.sleep(0.01)

    return wait
