"""Reads what updates are configured with, `ROOT/settings.json`, and says where things are. Nothing is guessed from it.

The file is trusted: whoever can write it can have anything run. So it must be writable by the account alone, and what it
names is checked for the same. It is described in docs/reference/settings-json.md.
"""

import json
import os
import re
import stat
import sys
from dataclasses import dataclass, field, fields

from dea.remote.approval import unsafe
from dea.remote.contract.request import shown
from dea.remote.releases.errors import ReleaseError

FORMAT = 1

# Only what neither a shell, git nor ssh gives a meaning to (ssh expands %, ~ and ${} in the values of its options).
_PATH = re.compile(r"/[A-Za-z0-9_./@+=,-]*", re.ASCII)
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+-]*([./][A-Za-z0-9_+-]+)*", re.ASCII)
_SSH = re.compile(
    r"(ssh://)?[A-Za-z0-9_.-]+@[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5}(?=/))?[:/][A-Za-z0-9_./~+-]+", re.ASCII
)


@dataclass(frozen=True)
class Layout:
    """Where things are below the root."""

    root: str

    @property
    def repository(self) -> str:
        """The bare clone."""
        return os.path.join(self.root, "repository.git")

    @property
    def releases(self) -> str:
        """The folder of the releases."""
        return os.path.join(self.root, "releases")

    @property
    def current(self) -> str:
        """The link to the release that serves."""
        return os.path.join(self.root, "current")

    @property
    def switches(self) -> str:
        """The record of the switches."""
        return os.path.join(self.root, "switches.json")

    @property
    def settings(self) -> str:
        """The settings."""
        return os.path.join(self.root, "settings.json")

    def release(self, commit: str) -> str:
        """Return the folder of a commit's release."""
        return os.path.join(self.releases, commit)

    def serving(self) -> "str | None":
        """Return the commit whose release serves, or None before the first one."""
        try:
            target = os.readlink(self.current)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ReleaseError(f"{self.current} is no link to a release ({error.strerror}): put it right") from error
        return os.path.basename(target)


def layout_around(checkout: str) -> "Layout | None":
    """Return where things are around a release, or None if a checkout is none.

    >>> layout_around("/home/dea/root/releases/4f1c"), layout_around("/home/dea/clone")
    (Layout(root='/home/dea/root'), None)
    """
    layout = Layout(os.path.dirname(os.path.dirname(checkout)))
    return layout if layout.releases == os.path.dirname(checkout) else None


@dataclass(frozen=True)
class Settings:
    """What updates are configured with.

    Attributes:
        repository: Where the code comes from: `user@host:path`, `ssh://...`, or an absolute path.
        branch: The branch whose newest commit is to serve.
        key: The private key that reads the repository; needed for SSH.
        known_hosts: The pinned host keys of the repository's server (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT); needed for SSH.
        commit_signers: Who may sign commits (ssh-keygen(1), ALLOWED SIGNERS), or None if commits need no signature.
        approvers: Who may sign approvals, or None if approvals need no signature.
        state: The state folder, where the keys' forced commands name one with `--state`.
        python: The interpreter that the forced commands name: a release must start with it.
        keep_releases: How many releases that have served are kept at least.
        keep_days: How many days a release is kept at least after it has served: longer than anything that it started runs.
        install_timeout_s: How long one `install.sh` may take.
    """

    repository: str
    branch: str = "production"
    key: "str | None" = None
    known_hosts: "str | None" = None
    commit_signers: "str | None" = None
    approvers: "str | None" = None
    state: "str | None" = None
    python: str = field(default_factory=lambda: sys.executable)
    keep_releases: int = 5
    keep_days: int = 14
    install_timeout_s: int = 1200

    @property
    def is_ssh(self) -> bool:
        """Whether the repository is reached by SSH."""
        return not self.repository.startswith("/")


def read(layout: Layout) -> Settings:
    """Read the settings.

    Raises:
        ReleaseError: If they are missing, others can write them or what they name, or a value is not as it should be;
            with all that is wrong.
    """
    check_owned(layout.root, stat.S_ISDIR)
    try:
        check_owned(layout.settings, stat.S_ISREG)
        with open(layout.settings, encoding="utf-8") as file:
            document = json.load(file)
    except FileNotFoundError:
        raise ReleaseError(
            f"{layout.root} has no settings.json, so it is no place for releases: a checkout that serves in place is"
            " updated by hand with git pull"
        ) from None
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{layout.settings} cannot be read: {error}") from error
    problems = _problems_with(document)
    if problems:
        raise ReleaseError("; ".join(f"settings.json: {problem}" for problem in problems))
    settings = Settings(**{name: value for name, value in document.items() if name != "format" and value is not None})
    for path in (settings.key, settings.known_hosts, settings.commit_signers, settings.approvers):
        if path is not None:
            if os.path.realpath(path).startswith(os.path.realpath(layout.releases) + "/"):
                raise ReleaseError(f"settings.json: {path} is inside a release, which cannot vouch for itself")
            check_owned(path, stat.S_ISREG)
    return settings


def check_owned(path: str, is_kind: "object") -> None:
    """Check that a file or folder can be written by the account and root alone.

    Raises:
        ReleaseError: If it is missing or others can write it.
    """
    try:
        problem = unsafe(os.lstat(path), (0, os.getuid()), is_kind)
    except FileNotFoundError:
        if os.path.basename(path) == "settings.json":
            raise
        problem = "is missing: settings.json names it"
    if problem:
        raise ReleaseError(f"{path} {problem}")


def _problems_with(document: object) -> "list[str]":
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        return [f"it is no JSON object with the format {FORMAT}, the one that this release reads"]
    known = {one.name: one for one in fields(Settings)}
    problems = [f"{shown(str(name))} is no setting" for name in document if name not in known and name != "format"]
    values = {name: value for name, value in document.items() if name in known and value is not None}
    for name, value in values.items():
        if name.startswith("keep_") or name.endswith("_s"):
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 100000:
                problems.append(f"{name} is a whole number from 1 on, not {shown(str(value))}")
        elif not isinstance(value, str):
            problems.append(f"{name} is a text, not {shown(str(value))}")
        elif name == "branch":
            if not _BRANCH.fullmatch(value) or value.endswith(".lock"):
                problems.append(f"branch: {shown(value)} is no plain name of a branch")
        elif name == "repository":
            if not _PATH.fullmatch(value) and not _SSH.fullmatch(value):
                problems.append(
                    f"repository: {shown(value)} is neither user@host:path, ssh://..., nor an absolute path"
                )
        elif not _PATH.fullmatch(value):
            problems.append(f"{name}: {shown(value)} is no absolute path of A-Z a-z 0-9 _ . / @ + = , -")
    if "repository" not in values:
        problems.append("repository is missing: where the code comes from")
    elif not str(values["repository"]).startswith("/"):
        problems += [f"{name} is missing: SSH needs it" for name in ("key", "known_hosts") if name not in values]
    return problems
