"""The Invoke tasks, `inv --list`: what each is for and one call into `dea.workspace`, which does the work."""

# Each task imports what it needs itself, so that none waits for another's imports.
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Any

from dea.workspace.interface import menu, task


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


@task(
    help={
        "name": "The function's name, or all.",
        "upgrade": "Take the newest versions instead of keeping those that still fit.",
        "check": "Write nothing: fail if a lock is missing, stale or changed by hand.",
    }
)
def lock(context: Any, name: str, upgrade: bool = False, check: bool = False) -> int:
    """Pin what a function requires, with hashes, in its requirements.lock."""
    from dea.workspace.packaging import tasks

    return tasks.lock(name, upgrade=upgrade, check=check)


@task(help={"name": "The function's name, or all."})
def install(context: Any, name: str) -> None:
    """Install what a function's lock pins into the current virtual environment."""
    from dea.workspace import installation

    installation.install(name)


@task(
    help={
        "name": "The function's name, or all.",
        "output": "The zip (default: dist/NAME.zip).",
        "python": "Another version of Python than function.yaml names, as in 3.13.",
        "arch": "Another architecture than function.yaml names: x86_64 or arm64.",
        "explain": "Print what each part takes, and what was left out by which rule.",
        "require-pyc": "Fail where there is no interpreter to compile with, instead of packaging sources alone.",
        "json": "Print JSON.",
    }
)
def package(
    context: Any,
    name: str,
    output: str = "",
    python: str = "",
    arch: str = "",
    explain: bool = False,
    require_pyc: bool = False,
    json: bool = False,
) -> int:
    """Build a function's package, the zip that Lambda takes: the same bytes from the same inputs."""
    from dea.workspace.packaging import tasks

    return tasks.package(
        name,
        output=output,
        python=python,
        architecture=arch,
        require_pyc=require_pyc,
        explain=explain,
        as_json=json,
    )


@task(
    iterable=["event", "set"],
    help={
        "name": "The function's name.",
        "environment": "The environment of its env_vars.yaml (default: default).",
        "event": "The event: a file, a JSON text, or - for standard input; may be repeated, for one process (default: {}).",
        "set": "NAME=VALUE: sets an environment variable, over the file's value; may be repeated.",
        "target": "sandbox, or aws: your own AWS credentials and the real login node.",
        "yes": "With --target aws: do not ask.",
        "source": "Run from the working tree with this Python instead of from the package.",
        "zip": "Run this package instead of making one.",
        "timeout": "Seconds that one invocation may take (default: function.yaml's).",
        "log-format": "Text or JSON, as Lambda's log formats.",
        "request-id": "The request id, to play a retry (default: a new one for each event).",
        "retries": "How often a failed event is tried again with the same request id; Lambda tries asynchronous ones twice more.",
        "json": "Print a list with the result or error document and the figures of each invocation.",
    },
)
def run_lambda(
    context: Any,
    name: str,
    environment: str | None = None,
    event: Any = None,
    set: Any = None,
    target: str = "sandbox",
    yes: bool = False,
    source: bool = False,
    zip: str = "",
    timeout: str = "",
    log_format: str = "Text",
    request_id: str = "",
    retries: str = "0",
    json: bool = False,
) -> int:
    """Run a function as Lambda does; print its log and reports, and its result as JSON."""
    from dea.workspace import run_lambda

    return run_lambda.run(
        name,
        environment_name=environment,
        sources=event or (),
        settings=set or (),
        target=target,
        confirmed=yes,
        from_source=source,
        package=Path(zip) if zip else None,
        timeout_s=timeout,
        log_format=log_format,
        request_id=request_id,
        retries=retries,
        as_json=json,
    )


@task(
    help={
        "name": "The function's name.",
        "zip": "Its package (default: dist/NAME.zip).",
        "json": "Print a JSON list of the checks: ok is true, false, or null for what could not be tried here.",
    }
)
def validate(context: Any, name: str, zip: str = "", json: bool = False) -> int:
    """Check a function's package as it will be on Lambda: the zip alone, a line for each check."""
    from dea.workspace import validation

    return validation.validate(name, zip_path=zip, as_json=json)


@task(
    help={
        "name": "The function's name.",
        "environment": "The environment of its env_vars.yaml (default: default).",
        "account": "The AWS account's id, 12 digits (default: CloudFormation's name for it).",
        "region": "The AWS region (default: AWS_REGION or AWS_DEFAULT_REGION of the shell, or CloudFormation's name for it).",
        "key-arn": "The KMS key of its SSM parameters (default: any, as far as it is theirs).",
        "function-name": "Its name on Lambda (default: the function's name).",
    }
)
def policy(
    context: Any,
    name: str,
    environment: str | None = None,
    account: str = "",
    region: str = "",
    key_arn: str = "",
    function_name: str = "",
) -> None:
    """Print the least IAM policy that a function needs, as JSON."""
    from dea.workspace import policy

    policy.show(
        name,
        environment_name=environment,
        account=account,
        region=region,
        key_arn=key_arn,
        function_name=function_name,
    )


@task(help={"name": "The command's name.", "args": "Its arguments, quoted as for a shell: --args \"--days 3 'a b'\"."})
def remote(context: Any, name: str, args: str = "") -> int:
    """Run a command through the sandbox's login node, as a Lambda function would."""
    from dea.workspace import remote

    return remote.run(name, args)


@task(
    help={
        "user-path": "The prefix of the key's SSM parameters (default: orchestrator.raijin.users.git_pull).",
        "yes": "Do not ask.",
        "json": "Print the report as JSON.",
    }
)
def git_pull(context: Any, user_path: str = "", yes: bool = False, json: bool = False) -> int:
    """Update the real login node, with your own AWS credentials; print what changed there."""
    from dea.workspace import git_pull

    return git_pull.run(user_path, confirmed=yes, as_json=json)


@task(
    help={
        "target": "sandbox: the one that this shell leads to, or one made for this; aws: your own AWS credentials and the real login node.",
        "user-path": "The prefix of the key's SSM parameters (default: the one that functions use).",
        "only": "The command that the key's forced command names with --only: what would run it is not tried.",
        "yes": "With --target aws: do not ask.",
        "json": "Print a JSON list of the checks: ok is true, false, or null for what could not be tried.",
    }
)
def doctor(
    context: Any, target: str = "sandbox", user_path: str = "", only: str = "", yes: bool = False, json: bool = False
) -> int:
    """Check this machine and the way to the login node, and try what the key must not be able to do; a line for each."""
    from dea.workspace import doctor

    return doctor.run(target=target, user_path=user_path, only=only, confirmed=yes, as_json=json)


@task(
    help={
        "name": "The command's name.",
        "state": "The state folder to install for (default: .dea-orchestration in your home folder).",
        "timeout": "How many seconds its install.sh may take (default: 1200, as in an update).",
    }
)
def install_command(context: Any, name: str, state: str = "", timeout: str = "") -> None:
    """Run a command's install.sh for this checkout, even if that was done before."""
    from dea.workspace import command_installation

    command_installation.run(name, state=state, timeout_s=timeout)


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


@task(
    help={
        "id": "The id of one job, to see its history (default: all jobs that are followed).",
        "since": "Those submitted since then, whatever became of them: 2026-01-31, 2026-01-31T12:00 (UTC), or 90m, 12h, 2d.",
        "state": "Those in this state only, as running; with --since also failed and the other ends.",
        "table": "The DynamoDB table (default: DEA_JOBS_TABLE of the shell, or dea-jobs).",
        "json": "Print JSON, with everything that is known of each.",
        "target": _TARGET,
    },
)
def jobs(
    context: Any,
    id: str = "",
    since: str = "",
    state: str = "",
    table: str = "",
    json: bool = False,
    target: str = "sandbox",
) -> None:
    """List the batch jobs that the functions follow, newest first; or one, with its history."""
    from dea.workspace import jobs

    jobs.show(job_id=id, since=since, state=state, table=table, as_json=json, target=target)


@task(help={"set": "The new version, X.Y.Z, for all four distributions.", "json": "Print JSON."})
def version(context: Any, set: str = "", json: bool = False) -> None:
    """Print the version, or set it in all four distributions at once."""
    from dea.workspace import versions

    versions.show(set, as_json=json)


# Options that several of the tasks for keys have.
_KEY = {"key": "Which of the three: run (commands), pull (triggers git_pull) or read (the repository)."}
_LABEL = {
    "label": "Its label on the login node, and its files' name (default: the key's own name).",
    "folder": "Where its files are (default: ~/.ssh/dea-orchestration).",
}
_LIMITS = {
    "allow": "What it may run: a command's name, or a pattern with * and ?; may be repeated (default: every command).",
    "from": "From where it may be used: addresses, networks or names, as 192.0.2.0/24,*.example.org (default: everywhere).",
    "expires": "Until when: 2030-12-31 (default: no end).",
}
_LOGIN = {
    "login": "Your own way in to the account: user@host, or a name of your ssh configuration.",
    "ssh": "The ssh program, with options if need be.",
    "python": "The interpreter on the login node.",
    "checkout": "The checkout or release there that edits authorized_keys, from the home folder on.",
}
_SSM = {
    "user-path": "The prefix of its SSM parameters (default: orchestrator.raijin.users.default for run, .git_pull for pull).",
    "no-check": "Do not log in with it: where from= does not admit this machine.",
    "yes": "Do not ask.",
}


@task(
    group="keys",
    help={
        **_KEY,
        **_LABEL,
        "anew": "Make another in the place of one that is there, or whose private half was stored and removed.",
        "json": "Print JSON.",
    },
)
def keys_make(
    context: Any, key: str = "", label: str = "", folder: str = "", anew: bool = False, json: bool = False
) -> None:
    """Make the keys run and pull, or one, in files that you alone can read; print their public halves."""
    from dea.workspace.keys import tasks

    tasks.make(key, label=label, folder=folder, anew=anew, as_json=json)


@task(
    group="keys",
    iterable=["allow"],
    help={
        **_KEY,
        **_LABEL,
        **_LIMITS,
        "checkout": "What serves on the login node, an absolute path: /home/USER/dea-orchestration/current.",
        "python": "The interpreter there.",
        "state": "Its state folder (default: .dea-orchestration in the account's home folder).",
    },
)
def keys_print(
    context: Any,
    key: str,
    checkout: str = "",
    python: str = "/usr/bin/python3",
    state: str = "",
    allow: Any = None,
    from_: str | None = None,
    expires: str | None = None,
    label: str = "",
    folder: str = "",
) -> None:
    """Print a key's line of authorized_keys; of the key read, its public half."""
    from dea.workspace.keys import tasks

    tasks.show(
        key,
        label=label,
        folder=folder,
        checkout=checkout,
        python=python,
        state=state,
        allow=allow or (),
        addresses=from_,
        expires=expires,
    )


@task(
    group="keys",
    iterable=["allow"],
    help={**_KEY, **_LABEL, **_LIMITS, **_LOGIN, "json": "Print what authorized_keys holds now, as JSON."},
)
def keys_install(
    context: Any,
    key: str,
    login: str,
    ssh: str = "ssh",
    python: str = "/usr/bin/python3",
    checkout: str = "dea-orchestration/current",
    allow: Any = None,
    from_: str | None = None,
    expires: str | None = None,
    label: str = "",
    folder: str = "",
    json: bool = False,
) -> None:
    """Let a key in on the login node: its line of authorized_keys, over your own ssh; no other line is touched."""
    from dea.workspace.keys import tasks

    tasks.install(
        key,
        label=label,
        folder=folder,
        login=login,
        ssh=ssh,
        python=python,
        checkout=checkout,
        allow=allow or (),
        addresses=from_,
        expires=expires,
        as_json=json,
    )


@task(
    group="keys",
    help={
        **_KEY,
        **_LABEL,
        **_SSM,
        "user": "The account on the login node.",
        "host": "The login node, as functions reach it: name or name:port.",
        "kms-key-id": "The KMS key that encrypts the parameters: id, ARN or alias/NAME.",
        "host-keys": "The login node's host keys, in a file; of a known_hosts file only its lines count "
        "(default: ask for them, show the fingerprints and have them confirmed).",
        "keep": "Leave the private key's file where it is.",
        "overwrite": "Replace what is stored under that prefix already.",
        "json": "Print JSON.",
    },
)
def keys_store(
    context: Any,
    key: str,
    user: str,
    host: str,
    kms_key_id: str,
    host_keys: str = "",
    user_path: str = "",
    keep: bool = False,
    overwrite: bool = False,
    no_check: bool = False,
    yes: bool = False,
    label: str = "",
    folder: str = "",
    json: bool = False,
) -> None:
    """Store a key in SSM with user, host and host keys, see that it logs in, and remove its file."""
    from dea.workspace.keys import tasks

    tasks.store(
        key,
        label=label,
        folder=folder,
        user=user,
        host=host,
        host_keys_file=host_keys,
        kms_key_id=kms_key_id,
        user_path=user_path,
        keep=keep,
        overwrite=overwrite,
        unchecked=no_check,
        confirmed=yes,
        as_json=json,
    )


@task(
    group="keys",
    help={
        **_KEY,
        **_LOGIN,
        **_SSM,
        "label": "Its label on the login node (default: the key's own name).",
        "kms-key-id": "The KMS key of the new one (default: that of the old one).",
        "expires": "Until when the new one: 2030-12-31 (default: as the old one).",
        "json": "Print JSON.",
    },
)
def keys_rotate(
    context: Any,
    key: str,
    login: str,
    ssh: str = "ssh",
    python: str = "/usr/bin/python3",
    checkout: str = "dea-orchestration/current",
    kms_key_id: str = "",
    user_path: str = "",
    expires: str | None = None,
    no_check: bool = False,
    yes: bool = False,
    label: str = "",
    json: bool = False,
) -> None:
    """Replace a stored key by a new one, which logs in before the old one goes."""
    from dea.workspace.keys import tasks

    tasks.rotate(
        key,
        label=label,
        login=login,
        ssh=ssh,
        python=python,
        checkout=checkout,
        kms_key_id=kms_key_id,
        user_path=user_path,
        expires=expires,
        unchecked=no_check,
        confirmed=yes,
        as_json=json,
    )


namespace = menu(globals())
