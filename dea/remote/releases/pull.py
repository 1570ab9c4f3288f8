"""One update from its beginning to its end: fetch, check, build, prepare, try, switch, clean.

Until the switch nothing that serves is touched, so whatever fails before, and wherever it is cut off, what served goes on
serving; the next update removes what was left and begins anew.
"""

import json
import os
import pwd
import stat
import subprocess
import time

from dea.remote.approval import APPROVED, SCRIPTS
from dea.remote.audit import timestamp
from dea.remote.decision import state_of
from dea.remote.disk import force_to_disk
from dea.remote.gate import STATE_FOLDER
from dea.remote.releases import clean, self_test, switch, tree
from dea.remote.releases.errors import ReleaseError
from dea.remote.releases.fetch import Git, check_signed, fetch, follows
from dea.remote.releases.install import DUE, KEPT, NONE
from dea.remote.releases.settings import Layout, Settings, check_owned, read
from dea.remote.releases.turn import Turn
from dea.remote.signature import SignatureError, problems_with_signatures

TYPE_CHECKING = False  # as in `typing`: only for annotations
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FORMAT = 1
"""The version of the report's format."""


class Update:
    """One update.

    Args:
        root: The folder that holds the releases.
        say: Is called with one line of text for each thing that happens.
        dry_run: Whether to do everything but install and switch.
        rollback: Whether to go back to the release before.
        force: Whether to take the branch's commit even if it does not follow from the one that serves, or was taken back.

    Attributes:
        report: What is known so far; described in docs/reference/git-pull.md.
    """

    def __init__(
        self,
        root: str,
        say: "Callable[[str], None]",
        *,
        dry_run: bool = False,
        rollback: bool = False,
        force: bool = False,
    ) -> None:
        self._layout = Layout(os.path.realpath(root))
        self._say = say
        self._dry_run = dry_run
        self._rollback = rollback
        self._force = force
        self._token = os.urandom(6).hex()
        self.report: "dict[str, Any]" = {
            "report": FORMAT, "old": None, "new": None, "switched": False, "dry_run": dry_run, "rollback": rollback,
            "commands": {}, "removed": [], "problem": None, "started": timestamp(time.time()), "duration_s": 0.0,
        }  # fmt: skip

    def run(self) -> None:
        """Do it.

        Raises:
            ReleaseError: If the new release does not serve; then the old one does.
            OSError: The same, because of a disk that is full, say.
            SystemExit: If a signal ends it; the report says whether it has switched by then.
        """
        begin = time.monotonic()
        try:
            settings = read(self._layout)
            state = state_folder(settings)
            os.makedirs(self._layout.releases, mode=0o755, exist_ok=True)
            check_owned(self._layout.releases, stat.S_ISDIR)
            with Turn(os.path.join(state, "git_pull")) as turn:
                clean.remove_leftovers(self._layout, state)
                try:
                    self._update(settings, state, turn)
                finally:
                    clean.remove_leftovers(self._layout, state)
        except (ReleaseError, OSError, SystemExit) as error:
            self.report["problem"] = "it was ended by a signal" if isinstance(error, SystemExit) else str(error)
            self._say(f"{self._layout.serving() or 'nothing'} serves")
            raise
        finally:
            self.report["duration_s"] = round(time.monotonic() - begin, 3)

    def _update(self, settings: Settings, state: str, turn: Turn) -> None:
        layout = self._layout
        serving = self.report["old"] = layout.serving()
        git, commit = self._choose(settings, serving)
        self.report["new"] = commit
        self._say(
            f"serving {serving or 'nothing yet'}, {'going back to' if self._rollback else 'the branch is at'} {commit}"
        )
        if settings.commit_signers is not None:
            check_signed(git, commit)
            self._say("the commit is signed by an allowed signer")
        if not self._rollback and not self._force:
            self._check_order(settings, git, serving, commit)
        release = self._build(git, commit, serving)
        if settings.approvers is not None:
            _check_signatures(release, settings.approvers)
            self._say("the approvals are signed by an approver")
        version = self_test.check_starts(settings, release)
        outcomes = _prepare(settings, state, release, dry_run=self._dry_run)
        self._compare(serving, commit, outcomes)
        ready = [name for name, outcome in outcomes.items() if outcome != DUE]
        self_test.check_serves(settings, release, state, ready)
        self._say(f"its dispatcher, version {version}, starts and runs what it should")
        if self._dry_run:
            self._say("nothing is switched: this was a dry run")
            return
        if commit != serving:
            turn.check()
            try:
                switch.switch_to(layout, commit, self._token, rollback=self._rollback)
            finally:
                self.report["switched"] = layout.serving() == commit
            self._say(f"{commit} serves")
        else:
            self._say("nothing is new")
        try:
            self.report["removed"] = clean.remove_old(layout, settings, state, self._token)
        except OSError as error:  # it serves all the same
            self._say(f"old releases could not be removed: {error}")
        for name in self.report["removed"]:
            self._say(f"removed {name}, which nothing has used for {settings.keep_days} days")

    def _choose(self, settings: Settings, serving: "str | None") -> "tuple[Git, str]":
        if self._rollback:
            return Git(self._layout.repository, settings), switch.previous(self._layout, serving)
        self._say(f"fetching {settings.branch} of {settings.repository}")
        return fetch(self._layout, settings, self._token)

    def _check_order(self, settings: Settings, git: Git, serving: "str | None", commit: str) -> None:
        """Refuse a commit that was taken back, or that does not follow from the one that serves.

        Threat: who can move the branch, but not sign, could bring an old, signed commit with a known hole back.
        """
        if serving is None or commit == serving:
            return
        if switch.was_taken_back(self._layout, commit):
            raise ReleaseError(f"{commit} was taken back by a rollback: push a newer commit, or take it with --force")
        if not follows(git, serving, commit):
            raise ReleaseError(
                f"{commit} of {settings.branch} does not follow from {serving}, which serves: was the branch rewritten?"
                " If that is meant, take it with --force"
            )

    def _build(self, git: Git, commit: str, serving: "str | None") -> str:
        """Return the folder of the commit's release, built if it is not there as it should be."""
        layout, release = self._layout, self._layout.release(commit)
        if os.path.lexists(release):
            problems = tree.differences(git, commit, release)
            if not problems:
                return release
            if commit == serving or self._rollback:
                raise ReleaseError(
                    f"{release} is not as its commit any more ({tree.summary(problems)}): push a new commit"
                )
            os.rename(release, os.path.join(layout.releases, f".old-{self._token}"))
        draft = os.path.join(layout.releases, f".new-{self._token}")
        try:
            tree.write(git, commit, draft)
        except ReleaseError:
            # The clone is a cache, and broken: the next update makes it anew.
            os.rename(layout.repository, f"{layout.repository}.old-{self._token}")
            raise
        os.rename(draft, release)
        force_to_disk(layout.releases)
        self._say(f"built releases/{commit}")
        return release

    def _compare(self, serving: "str | None", commit: str, outcomes: "dict[str, str]") -> None:
        """Report what changes for each command."""
        before = _approvals_of(self._layout.release(serving)) if serving is not None else {}
        after = _approvals_of(self._layout.release(commit))
        for name in sorted({*before, *after}):
            if name not in after:
                change = "removed"
            elif name not in before:
                change = "added"
            else:
                change = "unchanged" if before[name] == after[name] else "changed"
            outcome = outcomes.get(name, NONE)
            self.report["commands"][name] = {"change": change, "install": outcome}
            if change != "unchanged" or outcome not in (NONE, KEPT):
                self._say(f"{name}: {change}" + (f", install.sh: {outcome}" if outcome != NONE else ""))


def state_folder(settings: Settings) -> str:
    """Return the state folder: the configured one, else that of the dispatcher that started this, else the default."""
    default = os.path.join(pwd.getpwuid(os.getuid()).pw_dir, STATE_FOLDER)
    return settings.state or state_of(os.environ.get("DEA_PREFIX")) or default


def _check_signatures(release: str, approvers: str) -> None:
    try:
        problems = problems_with_signatures(release, approvers)
    except (SignatureError, OSError) as error:
        raise ReleaseError(f"the approvals' signatures cannot be checked: {error}") from error
    if problems:
        raise ReleaseError("; ".join(problems))


def _prepare(settings: Settings, state: str, release: str, *, dry_run: bool) -> "dict[str, str]":
    """Have the release check and install its commands by its own code (`dea.remote.releases.prepare`)."""
    program = [settings.python, "-I", "-S", os.path.join(release, "dea", "remote", "releases", "__main__.py")]
    arguments = ["--prepare", "--state", state, "--timeout", str(settings.install_timeout_s)]
    reading, lifeline = os.pipe()  # closes when this process ends, however that is
    try:
        process = subprocess.Popen(
            [*program, *arguments, *(["--dry-run"] if dry_run else [])], stdin=reading, stdout=subprocess.PIPE
        )
    except OSError as error:
        os.close(lifeline)
        raise ReleaseError(f"{settings.python} cannot be started: {error}") from error
    finally:
        os.close(reading)
    try:
        output = process.communicate()[0]
        answer = json.loads(output)
        outcomes, problems = dict(answer["commands"]), list(answer["problems"])
    except (ValueError, KeyError, TypeError) as error:
        raise ReleaseError(f"it cannot check itself: status {process.returncode}, see the lines before") from error
    finally:
        os.close(lifeline)
        process.wait()  # it ends an install.sh first, and says so to what would be a broken pipe
    if problems:
        raise ReleaseError("; ".join(str(problem) for problem in problems))
    return outcomes


def _approvals_of(release: str) -> "dict[str, bytes]":
    """Return the content of each command's approval by the command's name."""
    scripts = os.path.join(release, SCRIPTS)
    found = {}
    for name in os.listdir(scripts) if os.path.isdir(scripts) else ():
        try:
            with open(os.path.join(scripts, name, APPROVED), "rb") as file:
                found[name] = file.read()
        except OSError:
            continue
    return found
