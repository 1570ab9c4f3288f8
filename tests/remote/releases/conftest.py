"""A login node that is updated from a repository, both made for one test. Standard library and git."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.remote.approvals import write_approval

ROOT = Path(__file__).parents[3]
IGNORE = shutil.ignore_patterns("__pycache__", "*.pyc")
GIT = ("git", "-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=production")
OUTSIDE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
EXAMPLE = """#!/bin/sh
for run in ../*/run; do basename "$(dirname "$run")"; done
"""
GREET = """#!/bin/sh
echo hello
"""


class Origin:
    """The repository that is updated from: a bare one, and a work tree to commit in."""

    def __init__(self, folder):
        self.bare = folder / "origin.git"
        self.tree = folder / "tree"
        self.scripts = self.tree / "raijin_scripts"
        if self.bare.exists():  # copied
            return
        self.git("init", "-q", "--bare", self.bare, cwd=folder)
        self.git("init", "-q", self.tree, cwd=folder)
        shutil.copytree(ROOT / "dea" / "remote", self.tree / "dea" / "remote", ignore=IGNORE)
        shutil.copytree(ROOT / "raijin_scripts" / "git_pull", self.scripts / "git_pull", ignore=IGNORE)
        self.command("example", EXAMPLE)
        self.command("greet", GREET)

    def git(self, *arguments, cwd=None):
        """Run git as a developer and return what it prints."""
        done = subprocess.run(
            [*GIT, *map(str, arguments)],
            cwd=cwd or self.tree,
            env={**os.environ, **OUTSIDE},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def command(self, name, run, approve=True, **files):
        """Write a command and approve it; `install` is its install.sh."""
        folder = self.scripts / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in {"run": run, **{key.replace("_", "."): text for key, text in files.items()}}.items():
            (folder / file).write_text(text)
            (folder / file).chmod(0o755)
        if approve:
            self.approve(name)

    def approve(self, name, **changes):
        """Write what `inv approve` writes."""
        write_approval(self.scripts / name, **changes)

    def commit(self, *options, branch="production", force=False):
        """Commit everything and push it; return the commit."""
        self.git("add", "--all")
        self.git(*options, "commit", "-q", "--allow-empty", "-m", "For a test")
        self.git("push", "-q", *(["--force"] if force else []), self.bare, f"HEAD:refs/heads/{branch}")
        return self.git("rev-parse", "HEAD")


class Node:
    """The account on the login node."""

    def __init__(self, folder, origin):
        self.root = folder / "node"
        self.root.mkdir(exist_ok=True)
        self.state = folder / "state"
        self.current = self.root / "current"
        self.origin = origin
        self.settings = {
            "format": 1,
            "repository": str(origin.bare),
            "state": str(self.state),
            "python": sys.executable,
        }
        self.configure()

    def configure(self, **changes):
        """Write settings.json."""
        self.settings.update(changes)
        (self.root / "settings.json").write_text(json.dumps(self.settings))
        (self.root / "settings.json").chmod(0o644)

    def program(self):
        """Return the command line of git_pull: of the release that serves, or at first of the checkout."""
        base = self.current if self.current.exists() else ROOT
        root = () if self.current.exists() else ("--root", str(self.root))
        return [sys.executable, "-I", "-S", str(base / "dea" / "remote" / "releases" / "__main__.py"), *root]

    def pull(self, *options, **settings):
        """Run git_pull; the answer has its report too."""
        settings = {"env": {"PATH": os.environ["PATH"], "HOME": str(self.root)}, "timeout": 120, **settings}
        done = subprocess.run([*self.program(), *options], capture_output=True, text=True, check=False, **settings)
        done.report = json.loads(done.stdout) if done.stdout else None
        return done

    def updated(self, *options):
        """Run git_pull, which must work; return its report."""
        done = self.pull(*options)
        assert done.returncode == 0, done.stderr
        return done.report

    def refused(self, said, *options, status=1):
        """Run git_pull, which must not let anything else serve, and must say why."""
        before = self.serving()
        done = self.pull(*options)
        assert (done.returncode, self.serving()) == (status, before), done.stderr
        assert said in done.stderr
        assert done.report is None or (done.report["switched"] is False and said in done.report["problem"])
        return done

    def serving(self):
        """Return the commit that serves."""
        return self.current.readlink().name if self.current.is_symlink() else None

    def dispatch(self, request, *options):
        """Send a request through the gate."""
        return subprocess.run(
            [
                *(sys.executable, "-I", "-S", str(self.current / "dea" / "remote" / "__main__.py")),
                *(options or ("--key", "test")),
                *("--state", str(self.state)),
            ],
            env={"PATH": os.environ["PATH"], "SSH_ORIGINAL_COMMAND": request},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def leftovers(self):
        """Return what has a temporary name."""
        folders = [self.root, self.root / "releases", self.state / "git_pull"]
        marks = (".new-", ".old-", "self-test-")
        return [
            entry
            for folder in folders
            if folder.is_dir()
            for entry in (path.name for path in folder.iterdir())
            if any(m in entry for m in marks)
        ]


@contextlib.contextmanager
def usual_umask():
    """What others can write is refused, which many a developer's umask would make of it."""
    former = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(former)


@pytest.fixture
def origin(tmp_path):
    with usual_umask():
        yield Origin(tmp_path)


@pytest.fixture
def node(tmp_path, origin):
    return Node(tmp_path, origin)


@pytest.fixture
def signer(tmp_path):
    """A function that makes an SSH key and returns its path; and one more that lists keys as allowed signers."""

    def make(name, listed_in=None):
        key = tmp_path / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key, "-C", name], check=True)
        if listed_in is not None:
            with (tmp_path / listed_in).open("a") as file:
                file.write(f"{name}@example.org {key.with_suffix('.pub').read_text()}")
            (tmp_path / listed_in).chmod(0o644)
        return key

    make.folder = tmp_path
    return make
