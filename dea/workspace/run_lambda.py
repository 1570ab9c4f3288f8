"""Runs a function as Lambda does, on the sandbox or with the caller's own AWS credentials: `inv run-lambda`."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from dea.raijin.credentials import user_path_from
from dea.workspace import aws_account, checkout, environment, events, interpreters, packaging, policy, runtime
from dea.workspace import settings as function_settings
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import console, number, print_json, progress, starting
from dea.workspace.runtime import Deployed, Invocation, Runtime, TaskRoot
from dea.workspace.sandbox import ACCOUNT, REGION, Sandbox, sandbox
from dea.workspace.sandbox.exported import TARGETS, check_target
from dea.workspace.settings import Settings

_MAX_TIMEOUT_S = 900.0
_MAX_RETRIES = 100
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


def run(
    name: str,
    *,
    environment_name: str | None = None,
    sources: Sequence[str] = (),
    settings: Iterable[str] = (),
    target: str = TARGETS[0],
    confirmed: bool = False,
    from_source: bool = False,
    package: Path | None = None,
    timeout_s: str = "",
    log_format: str = runtime.LOG_FORMATS[0],
    request_id: str = "",
    retries: str = "0",
    as_json: bool = False,
) -> int:
    """Run a function once for each event, in one process: print what was set, the log, and the result as JSON on stdout.

    Args:
        name: The function's name.
        environment_name: The environment of its `env_vars.yaml`; None for `default`.
        sources: The events: paths, JSON texts, or `-` for standard input; none for `{}` alone.
        settings: `NAME=VALUE` texts that win over the file.
        target: `sandbox`, or `aws` for the caller's own credentials.
        confirmed: Do not ask whether `aws` is meant.
        from_source: Run from the working tree, with this interpreter.
        package: A package to run; None to make it.
        timeout_s: The timeout as text; empty for the one of `function.yaml`.
        log_format: `Text` or `JSON`.
        request_id: The request id of every event; empty for one of its own each.
        retries: How often a failed event is tried again, as text.
        as_json: Print what came of every invocation as a list, as it is done for several events too.

    Returns:
        0 if the handler returned for every event, at last; else 1.

    Raises:
        WorkspaceError: If something that was asked for does not exist or is not as it should be.
    """
    check_target(target)
    if log_format not in runtime.LOG_FORMATS:
        raise WorkspaceError(
            f"--log-format {log_format!r:.80} is not known: choose one of {', '.join(runtime.LOG_FORMATS)}"
        )
    if request_id and not _REQUEST_ID.fullmatch(request_id):
        raise WorkspaceError(f"--request-id {request_id!r:.140} is none: use up to 128 letters, digits, - and _")
    if from_source and package is not None:
        raise WorkspaceError("--source and --zip exclude each other: run the working tree or a package")
    tries = 1 + int(number("--retries", retries, _MAX_RETRIES, whole=True))
    function = checkout.function(name)
    deployed_as = function_settings.read(function)
    limit_s = number("--timeout", timeout_s, _MAX_TIMEOUT_S) if timeout_s else float(deployed_as.timeout_s)
    declared = environment.read(function.folder / environment.FILE_NAME)
    resolved = declared.resolve(environment_name, environment.parse_settings(settings), os.environ)
    payloads = [_payload(source) for source in sources or ("{}",)]
    if target == "aws":
        aws_account.check_can_confirm(confirmed=confirmed)

    inherited = {
        key: os.environ[key]
        for key in declared.variables
        if key in os.environ and key not in resolved.values and key not in resolved.parameters
    }
    for line in resolved.shown():
        console.print(f"set {line}", markup=False, soft_wrap=True)
    for key, value in sorted(inherited.items()):
        console.print(f"set {key}={environment.shown_value(key, value)}  (the shell's)", markup=False, soft_wrap=True)
    own = {**inherited, **resolved.values}

    with contextlib.ExitStack() as stack:
        if target == "aws":
            account = aws_account.account()
            if not confirmed:
                aws_account.confirm(f"run {name}", account)
        task_root = stack.enter_context(code(function, deployed_as, from_source=from_source, package=package))
        client = runtime.install_client(task_root.interpreter)
        if target == "aws":
            account_id, region = account.account_id, account.region
            variables = {**own, **environment.fetch(resolved.parameters, account.ssm), **account.variables}
        else:
            box = stack.enter_context(starting("starting the sandbox", sandbox(user_path=user_path_from(own))))
            account_id, region = ACCOUNT, REGION
            fetched = environment.fetch(resolved.parameters, box.ssm()) if resolved.parameters else {}
            role = stack.enter_context(_role(box, function, own, resolved))
            variables = {**box.environment(own | fetched), **role}
        for key in sorted(key for key in own if key in runtime.RESERVED or variables.get(key) != own[key]):
            console.print(
                f"{key} is not the function's to set: the value given is not used", markup=False, soft_wrap=True
            )
        deployed = Deployed(
            name=name,
            arn=f"arn:aws:lambda:{region}:{account_id}:function:{name}",
            task_root=task_root,
            client=client,
            variables=variables,
            memory_mb=deployed_as.memory_mb,
            timeout_s=limit_s,
            log_format=log_format,
        )
        warm = stack.enter_context(Runtime(deployed))
        done = [_invoke(warm, payload, request_id or str(uuid.uuid4()), tries) for payload in payloads]
    _show(done, as_json=as_json or len(done) > 1)
    return 1 if any(attempts[-1].failed for attempts in done) else 0


def code(
    function: checkout.Function, settings: Settings, *, from_source: bool = False, package: Path | None = None
) -> AbstractContextManager[TaskRoot]:
    """Return the code to run: the function's package, or, asked for or where this machine cannot run that, the working tree.

    Args:
        function: The function.
        settings: What it is deployed as.
        from_source: Take the working tree.
        package: A package to take; None to make it.

    Raises:
        WorkspaceError: If the package given cannot be run here, or one cannot be made.
    """
    if package is not None:
        said = runtime.manifest_of(package)
        if said.function != function.name:
            raise WorkspaceError(f"{package} is the package of {said.function}, not of {function.name}")
        if elsewhere := said.target.why_not_here():
            raise WorkspaceError(f"{package} cannot be run here: {elsewhere}")
        return _unpacking(package)
    if from_source:
        return runtime.working_tree(function, settings)
    target = packaging.Target(settings.python, settings.architecture)
    unlike = target.why_not_here()
    if not unlike and interpreters.find(settings.python) is None:
        unlike = f"this machine has no Python {settings.python} ({interpreters.how_to_install(settings.python)})"
    if unlike:
        console.print(
            f"not the package, {unlike}: running {function.name} from the working tree with Python {platform.python_version()}",
            markup=False,
            soft_wrap=True,
        )
        return runtime.working_tree(function, settings)
    return _unpacking(packaging.build(function, progress=progress).path)


def _unpacking(package: Path) -> AbstractContextManager[TaskRoot]:
    return starting(f"unpacking {package.name}", runtime.unpacked(package))


@contextlib.contextmanager
def _role(
    box: Sandbox, function: checkout.Function, own: Mapping[str, str], resolved: environment.Resolved
) -> Iterator[dict[str, str]]:
    """Give the variables by which the function may do on the sandbox what `inv policy` allows it, and nothing else."""
    named = {name: environment.SsmParameter(parameter) for name, parameter in resolved.parameters.items()}
    try:
        allowed = policy.document(function, {**own, **named}, policy.Place(ACCOUNT, REGION))
    except WorkspaceError as error:
        console.print(f"the sandbox checks no permissions of the function: {error}", markup=False, soft_wrap=True)
        yield {}
        return
    with box.restricted(allowed) as role:
        yield role


def _invoke(warm: Runtime, payload: bytes, request_id: str, tries: int) -> list[Invocation]:
    """Hand over one event until it succeeds or its tries are used up; return all of them."""
    attempts: list[Invocation] = []
    while len(attempts) < tries and (not attempts or attempts[-1].failed):
        attempts.append(warm.invoke(payload, request_id))
        if failed := attempts[-1].failed:
            console.print(f"{failed} failed: {attempts[-1].error}", markup=False, soft_wrap=True)
    return attempts


def _show(done: list[list[Invocation]], *, as_json: bool) -> None:
    if as_json:
        print_json([_shown(attempt) for attempts in done for attempt in attempts])
        return
    last = done[0][-1]
    if last.failed:
        return
    try:
        print_json(json.loads(last.payload))
    except ValueError:  # a handler may return bytes, and Lambda hands them on as they are
        sys.stdout.flush()
        sys.stdout.buffer.write(last.payload)


def _shown(invocation: Invocation) -> dict[str, Any]:
    try:
        payload = json.loads(invocation.payload)
    except ValueError:
        payload = invocation.payload.decode("utf-8", "backslashreplace")
    return {
        "request_id": invocation.request_id,
        "failed": invocation.failed,
        "payload": payload,
        "report": invocation.report.figures(),
    }


def _payload(source: str) -> bytes:
    payload = json.dumps(events.read(source)).encode()
    if len(payload) > runtime.MAX_PAYLOAD_BYTES:
        raise WorkspaceError(
            f"the event of --event {source!r:.80} is {len(payload)} bytes: Lambda takes {runtime.MAX_PAYLOAD_BYTES}"
        )
    return payload
