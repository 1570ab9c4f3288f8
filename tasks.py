"""The Invoke tasks, `inv --list`: what each is for and one call into `dea.workspace`, which does the work."""

# Each task imports what it needs itself, so that none waits for another's imports.
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Any

from dea.workspace.interface import print_json, task


@task(help={"json": "Print JSON instead of tables."})
def list(context: Any, json: bool = False) -> None:
    """List the functions and the commands, with their summaries."""
    from dea.workspace import listing

    listing.show(as_json=json)


@task(
    help={
        "name": "The command, `site` for raijin_scripts/site.yaml, or `all`.",
        "sign": "Sign the approval with this private SSH key.",
        "check": "Write nothing: fail if any approval is missing or stale.",
        "allowed-signers": "With --check: fail too if an approval is not signed by one of these (ssh-keygen, ALLOWED SIGNERS).",
    }
)
def approve(context: Any, name: str = "", sign: str = "", check: bool = False, allowed_signers: str = "") -> None:
    """Approve a command as it stands: show what it allows and write approved.json."""
    from dea.workspace import approval

    approval.run(name=name, sign=sign, check=check, allowed_signers=allowed_signers)


@task(
    help={
        "name": "The new function's or command's name: [a-z][a-z0-9_]{0,63}.",
        "kind": "raijin: a function that talks to the login node; base: one that does not; batch: one for records of a queue or a stream; "
        "command: an entry of raijin_scripts.",
        "from": "With --kind command: a script of the old kind, or a folder that has one as run, to draft it from.",
    }
)
def new(context: Any, name: str, kind: str = "raijin", from_: str = "") -> None:
    """Make a new function or command, complete with a passing test."""
    from dea.workspace import scaffold

    scaffold.make(name, kind, old=Path(from_) if from_ else None)


@task(help={"name": "The function's name, or all."})
def install(context: Any, name: str) -> None:
    """Install what a function requires into the current virtual environment."""
    from dea.workspace import installation

    installation.install(name)


@task(
    iterable=["set"],
    help={
        "name": "The function's name.",
        "environment": "The environment of its env_vars.yaml (default: default).",
        "event": "The event: a file, a JSON text, or - for standard input.",
        "set": "NAME=VALUE: sets an environment variable, over the file's value; may be repeated.",
        "target": "sandbox, or aws: your own AWS credentials and the real login node.",
    },
)
def run_lambda(
    context: Any, name: str, environment: str | None = None, event: str = "{}", set: Any = None, target: str = "sandbox"
) -> int:
    """Run a function once; print its log, and its result as JSON."""
    from dea.workspace import run_lambda

    return run_lambda.run(name, environment_name=environment, event=event, settings=set or (), target=target)


@task(help={"name": "The command's name.", "args": "Its arguments, quoted as for a shell: --args \"--days 3 'a b'\"."})
def remote(context: Any, name: str, args: str = "") -> int:
    """Run a command through the sandbox's login node, as a Lambda function would."""
    from dea.workspace import remote

    return remote.run(name, args)


@task(
    help={
        "login-node": "What serves SSH: openssh or asyncssh (default: openssh where it is installed).",
        "json": "Print what to export, and the login node's address, as JSON.",
    }
)
def sandbox(context: Any, login_node: str | None = None, json: bool = False) -> None:
    """Keep a sandbox up until Ctrl-C; print what to export to use it."""
    from dea.workspace import remote

    remote.stay_up(login_node, as_json=json)


_TARGET = "sandbox: the one that this shell's exported variables lead to (inv sandbox prints them); aws: your own AWS credentials."


@task(
    help={
        "since": "Only those since then: 2026-01-31, 2026-01-31T12:00 (UTC), or how long ago, as 90m, 12h, 2d.",
        "json": "Print JSON, with everything that is known of each.",
        "target": _TARGET,
    }
)
def runs(context: Any, since: str = "", json: bool = False, target: str = "sandbox") -> None:
    """List the runs that the login node remembers, newest first."""
    from dea.workspace import runs

    runs.show(since=since, as_json=json, target=target)


@task(
    positional=["id"],
    help={
        "id": "The run's id.",
        "now": "Do not wait for its end: print what there is so far; status 75 if it still runs.",
        "json": "Print JSON.",
        "target": _TARGET,
    },
)
def result(context: Any, id: str, now: bool = False, json: bool = False, target: str = "sandbox") -> int:
    """Print what a run wrote, waiting for its end, and end with its exit status."""
    from dea.workspace import runs

    return runs.result(id, now=now, as_json=json, target=target)


@task(positional=["id"], help={"id": "The run's id.", "json": "Print JSON.", "target": _TARGET})
def rerun(context: Any, id: str, json: bool = False, target: str = "sandbox") -> int:
    """Run again what a run ran, as a new attempt with an id of its own; then as inv result."""
    from dea.workspace import runs

    return runs.rerun(id, as_json=json, target=target)


@task(positional=["id"], help={"id": "The run's id.", "json": "Print JSON.", "target": _TARGET})
def cancel(context: Any, id: str, json: bool = False, target: str = "sandbox") -> int:
    """End a run; print how it stands then, with status 75 if it still runs."""
    from dea.workspace import runs

    return runs.cancel(id, as_json=json, target=target)


@task(help={"set": "The new version, X.Y.Z, for all four distributions.", "json": "Print JSON."})
def version(context: Any, set: str = "", json: bool = False) -> None:
    """Print the version, or set it in all four distributions at once."""
    from dea.workspace import versions

    if set:
        for path in versions.bump(set):
            print(f"changed {path}")
    elif json:
        print_json({"version": versions.current(), "written": versions.written()})
    else:
        print(versions.current())
