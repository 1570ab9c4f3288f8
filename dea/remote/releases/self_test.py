"""Tries a release's own dispatcher before anything depends on it: it starts, and behind a key it runs what it should."""

import json
import os
import shutil
import subprocess
import tempfile

from dea.remote.decision import UPDATE
from dea.remote.releases.errors import ReleaseError
from dea.remote.releases.settings import Settings

TIMEOUT_S = 60

PREFIX = "self-test-"
_EXAMPLE = "example"


def check_starts(settings: Settings, release: str) -> str:
    """Start a release's dispatcher as the forced command does, and return its version.

    Raises:
        ReleaseError: If it does not start.
    """
    answer = _dispatch(settings, release, ["--version", "--json"], None)
    try:
        return str(json.loads(answer.stdout)["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise ReleaseError(f"its dispatcher does not start with {settings.python}: {_last_line(answer)}") from error


def check_serves(settings: Settings, release: str, state: str, names: "list[str]") -> None:
    """Have a release's dispatcher list its commands and run `example` in gate mode, with a state folder made for that alone.

    Args:
        settings: What is configured.
        release: The release's folder.
        state: The real state folder, for its prefixes.
        names: The commands that must be ready to run.

    Raises:
        ReleaseError: If one is not, or `example` does not run.
    """
    folder = tempfile.mkdtemp(prefix=PREFIX, dir=os.path.join(state, "git_pull"))
    try:
        os.symlink(os.path.join(state, "prefix"), os.path.join(folder, "prefix"))
        gate = ["--key", "self-test", "--allow", "*", UPDATE, "--state", folder]
        answer = _dispatch(settings, release, gate, "--list --json")
        try:
            listed = {one["name"]: one["problems"] for one in json.loads(answer.stdout)["commands"]}
        except (ValueError, KeyError, TypeError) as error:
            raise ReleaseError(f"its dispatcher does not list its commands: {_last_line(answer)}") from error
        for name in names:
            if listed.get(name, ["it is not listed"]):
                raise ReleaseError(
                    f"its dispatcher does not run {name}: {'; '.join(listed.get(name) or ['not listed'])}"
                )
        if _EXAMPLE in names:
            answer = _dispatch(settings, release, gate, _EXAMPLE)
            if answer.returncode != 0 or _EXAMPLE not in answer.stdout.splitlines():
                raise ReleaseError(
                    f"its dispatcher does not run {_EXAMPLE} (status {answer.returncode}): {_last_line(answer)}"
                )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _dispatch(
    settings: Settings, release: str, arguments: "list[str]", request: "str | None"
) -> "subprocess.CompletedProcess[str]":
    program = [settings.python, "-I", "-S", os.path.join(release, "dea", "remote", "__main__.py"), *arguments]
    environment = {"PATH": os.environ.get("PATH", "")}
    if request is not None:
        environment["SSH_ORIGINAL_COMMAND"] = request
    try:
        return subprocess.run(
            program,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ReleaseError(f"its dispatcher does not start with {settings.python}: {error}") from error


def _last_line(answer: "subprocess.CompletedProcess[str]") -> str:
    lines = answer.stderr.strip().splitlines()
    return ascii(lines[-1])[1:-1][:300] if lines else f"status {answer.returncode}, and it said nothing"
