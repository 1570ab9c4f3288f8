"""Fetches the production branch into the bare clone, and says which commit it is at; checks who signed that commit.

git gets an environment made from nothing and no configuration but what is said here: no hook, filter or credential helper
of the account, the system or the repository has a say. ssh gets one key, one list of host keys, and no configuration file.
"""

import os
import shlex
import shutil
import subprocess

from dea.remote.launch import PATH
from dea.remote.releases.errors import ReleaseError
from dea.remote.releases.settings import Layout, Settings

TIMEOUT_S = 600
"""How long one call of git may take: a first fetch brings the whole history."""

_BRANCH_REF = "refs/heads/fetched"
_MAX_SAID = 400

_CONFIGURATION = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.attributesFile": os.devnull,
    "credential.helper": "",
    "fetch.fsckObjects": "true",
    "transfer.fsckObjects": "true",
    "fetch.unpackLimit": "1",  # one pack for each fetch instead of hundreds of files: file counts are quotas too
    "gc.auto": "0",
    "maintenance.auto": "false",
    "protocol.allow": "never",
    # Signatures by SSH keys of the list only: a keyring of the account's must not be able to vouch for a commit.
    "gpg.format": "ssh",
    "gpg.ssh.program": "ssh-keygen",
    "gpg.openpgp.program": "false",
    "gpg.program": "false",
    "gpg.x509.program": "false",
}

# ssh_config(5). No agent, no other identity, no other host key, nothing that asks, nothing that is left running.
_SSH_OPTIONS = {
    "BatchMode": "yes",
    "CheckHostIP": "no",
    "ClearAllForwardings": "yes",
    "ConnectTimeout": "20",
    "ControlMaster": "no",
    "ControlPath": "none",
    "ForwardAgent": "no",
    "GlobalKnownHostsFile": os.devnull,
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    "PermitLocalCommand": "no",
    "PreferredAuthentications": "publickey",
    "ServerAliveCountMax": "4",
    "ServerAliveInterval": "15",
    "StrictHostKeyChecking": "yes",
    "UpdateHostKeys": "no",
}


class Git:
    """The bare clone, asked by git.

    Args:
        folder: The repository's folder.
        settings: What is configured.
    """

    def __init__(self, folder: str, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings

    def ask(self, *arguments: str) -> bytes:
        """Run git in the repository and return what it prints.

        Raises:
            ReleaseError: If it fails, with its own last words.
        """
        done = self.run(*arguments)
        if done.returncode != 0:
            raise ReleaseError(f"git {arguments[0]} failed: {_last_words(done.stderr)}")
        return done.stdout

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        """Run git in the repository and return how it ended.

        Raises:
            ReleaseError: If it is not there or takes too long.
        """
        try:
            return subprocess.run(
                self.command(*arguments),
                env=self.environment(),
                cwd=os.path.dirname(self.folder),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ReleaseError(f"git {arguments[0]} did not end within {TIMEOUT_S} s") from error

    def command(self, *arguments: str) -> "list[str]":
        """Return the command line of a call of git."""
        program = shutil.which("git", path=_search_path())
        if program is None:
            raise ReleaseError(f"git is not there: its folder must be in site.yaml's path ({_search_path()})")
        configuration = {
            **_CONFIGURATION,
            f"protocol.{'ssh' if self.settings.is_ssh else 'file'}.allow": "always",
            "gpg.ssh.allowedSignersFile": self.settings.commit_signers or os.devnull,
        }
        options = [word for name, value in configuration.items() for word in ("-c", f"{name}={value}")]
        return [program, *options, "--git-dir", self.folder, *arguments]

    def environment(self) -> "dict[str, str]":
        """Return git's whole environment."""
        return {
            "PATH": _search_path(),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "HOME": os.devnull,  # git before 2.32 knows no GIT_CONFIG_GLOBAL
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "false",
            "SSH_ASKPASS": "false",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_SSH_VARIANT": "ssh",
            "GIT_SSH_COMMAND": ssh_command(self.settings),
        }


def ssh_command(settings: Settings) -> str:
    """Return the command by which git reaches the repository's server. git has a shell read it, so each word is quoted."""
    if settings.key is None or settings.known_hosts is None:
        return "false"
    options = {**_SSH_OPTIONS, "UserKnownHostsFile": settings.known_hosts, "IdentityFile": settings.key}
    words = ["ssh", "-F", os.devnull, "-T", *(word for pair in options.items() for word in ("-o", "=".join(pair)))]
    return " ".join(shlex.quote(word) for word in words)


def fetch(layout: Layout, settings: Settings, token: str) -> "tuple[Git, str]":
    """Fetch the branch; return the repository and the commit that the branch is at.

    The clone is a cache: where a fetch into it fails (it was cut off half-way, say), one is made anew and takes its place
    if that works.

    Args:
        layout: Where things are.
        settings: What is configured.
        token: What this update's temporary names end in.

    Raises:
        ReleaseError: If the branch cannot be fetched.
    """
    kept = Git(layout.repository, settings)
    if os.path.isdir(layout.repository) and _fetched(kept).returncode == 0:
        return kept, _tip(kept)
    fresh = Git(f"{layout.repository}.new-{token}", settings)
    fresh.ask("init", "--quiet", "--bare", "--template=", fresh.folder)
    done = _fetched(fresh)
    if done.returncode != 0:
        raise ReleaseError(
            f"the branch {settings.branch} of {settings.repository} cannot be fetched: {_last_words(done.stderr)}"
        )
    commit = _tip(fresh)
    if os.path.lexists(layout.repository):
        os.rename(layout.repository, f"{layout.repository}.old-{token}")
    os.rename(fresh.folder, layout.repository)
    return kept, commit


def check_signed(git: Git, commit: str) -> None:
    """Check that a commit is signed by one of the configured signers.

    Raises:
        ReleaseError: If it is not.
    """
    done = git.run("verify-commit", commit)
    if done.returncode != 0:
        said = _last_words(done.stderr) if done.stderr.strip() else "it has no signature"
        raise ReleaseError(f"commit {commit} is not signed by one of the allowed signers: {said}")


def follows(git: Git, old: str, new: str) -> bool:
    """Tell whether a commit is a descendant of another, or the same."""
    return git.run("merge-base", "--is-ancestor", old, new).returncode == 0


def _fetched(git: Git) -> "subprocess.CompletedProcess[bytes]":
    settings = git.settings
    return git.run(
        "fetch",
        "--quiet",
        "--no-tags",
        "--no-write-fetch-head",
        "--no-recurse-submodules",
        "--force",
        "--",
        settings.repository,
        f"+refs/heads/{settings.branch}:{_BRANCH_REF}",
    )


def _tip(git: Git) -> str:
    return git.ask("rev-parse", "--verify", "--quiet", f"{_BRANCH_REF}^{{commit}}").decode("ascii").strip()


def _search_path() -> str:
    # A command's PATH is the site's, approved; by hand it is the person's own.
    return os.environ.get("PATH") or PATH


def _last_words(stderr: bytes) -> str:
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    return ascii("; ".join(lines))[1:-1][-_MAX_SAID:] or "it said nothing"
