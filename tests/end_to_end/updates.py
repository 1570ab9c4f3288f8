"""What tests of updates share: a developer who pushes commits, good and bad, and commands that are dispatched meanwhile."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from dea.workspace import approval
from tests.conftest import ROOT

GIT = ("git", "-c", "user.name=Test", "-c", "user.email=test@example.org")
GREET = "#!/bin/sh\necho hello\n"


class Developer:
    """A developer's work tree, with the project's own commands and `greet`; not committed yet.

    Args:
        tree: Where it is made.
        remote: What is pushed to.
        **environment: More variables for git.
    """

    def __init__(self, tree: Path, remote: str | Path, **environment: str) -> None:
        self.tree = tree
        self.remote = remote
        self._environment = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", **environment}
        self.git("init", "-q", tree, cwd=tree.parent)
        ignore = shutil.ignore_patterns("__pycache__")
        for part in ("dea/remote", "raijin_scripts"):
            shutil.copytree(ROOT / part, tree / part, ignore=ignore)
        shutil.copy(ROOT / ".gitignore", tree)
        self.command("greet", GREET)

    def git(self, *arguments: str | Path, cwd: Path | None = None) -> str:
        done = subprocess.run(
            [*GIT, *map(str, arguments)],
            cwd=cwd or self.tree,
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def signs_with(self, key: Path) -> None:
        """Have every commit signed from now on."""
        for name, value in (("gpg.format", "ssh"), ("user.signingkey", str(key)), ("commit.gpgsign", "true")):
            self.git("config", name, value)

    def command(self, name: str, run: str, install: str | None = None) -> None:
        """Write a command and approve it."""
        folder = self.tree / "raijin_scripts" / name
        folder.mkdir(exist_ok=True)
        for file, text in (("run", run), ("install.sh", install)):
            if text is not None:
                (folder / file).write_text(text)
                (folder / file).chmod(0o755)
        (folder / "command.yaml").write_text("summary: For a test.\n")
        approval.approve(name, root=self.tree)

    def commit(self, *options: str) -> str:
        """Commit everything and push it; return the commit."""
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", "For a test", *options)
        self.git("push", "-q", self.remote, "HEAD:refs/heads/production")
        return self.git("rev-parse", "HEAD")

    def back_to(self, commit: str) -> None:
        """Have the files of a commit in the tree again."""
        self.git("rm", "-rqf", ".")
        self.git("checkout", "-q", commit, "--", ".")


def _stale(developer: Developer) -> str:
    (developer.tree / "raijin_scripts" / "greet" / "run").write_text("#!/bin/sh\necho evil\n")
    return developer.commit()


def _failing(developer: Developer) -> str:
    developer.command("needy", GREET, install="#!/bin/sh\nexit 3\n")
    return developer.commit()


def _broken(developer: Developer) -> str:
    (developer.tree / "dea" / "remote" / "dispatcher.py").write_text("import nothing_of_that_name\n")
    return developer.commit()


def _unsigned(developer: Developer) -> str:
    developer.command("greet", "#!/bin/sh\necho evil\n")
    return developer.commit("--no-gpg-sign")


BAD: list[tuple[Callable[[Developer], str], str]] = [
    (_stale, "has changed since it was approved"),
    (_failing, "needy: its install.sh failed"),
    (_broken, "its dispatcher does not start"),
    (_unsigned, "is not signed by one of the allowed signers"),
]
"""Commits that must not serve, and what is said of each."""


class Traffic:
    """`greet`, dispatched over and over until the context is left and often enough, and what went wrong with it.

    Args:
        ways: Each dispatches it once and returns how that ended; each goes on in a thread of its own.
        good: What it may print.
        at_least: How often in all before leaving.
    """

    def __init__(
        self, ways: list[Callable[[], subprocess.CompletedProcess[str]]], good: set[str], at_least: int
    ) -> None:
        self._good = good
        self._at_least = at_least
        self._over = threading.Event()
        self.counts = [0] * len(ways)
        self._threads = [threading.Thread(target=self._go_on, args=(at, way)) for at, way in enumerate(ways)]
        self.wrong: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(300)

    def _go_on(self, at: int, way: Callable[[], subprocess.CompletedProcess[str]]) -> None:
        while not self._over.is_set() or sum(self.counts) < self._at_least:
            done = way()
            if done.returncode != 0 or done.stdout not in self._good:
                self.wrong.append(f"{done.returncode} {done.stdout!r} {done.stderr!r}")
            self.counts[at] += 1
