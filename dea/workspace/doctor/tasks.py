"""What a person sees of it: a line for each check of this machine and of the way to the login node."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import paramiko

from dea.raijin import RaijinSession, Retries
from dea.raijin.credentials import user_path_from
from dea.remote.checks import Check
from dea.remote.decision import UPDATE
from dea.workspace import aws_account
from dea.workspace.doctor import channels, gate, machine, way
from dea.workspace.doctor.host_keys import host_keys
from dea.workspace.doctor.way import Way
from dea.workspace.git_pull import DEFAULT_USER_PATH as UPDATE_USER_PATH
from dea.workspace.interface import progress, starting, tell
from dea.workspace.sandbox import check_leads_to_aws, exported_ssm, leads_to_a_sandbox, sandbox
from dea.workspace.sandbox.exported import check_target

_RETRIES = Retries(give_up_s=0)

_AFTER_CREDENTIALS = ("host_keys", "login")
_AFTER_LOGIN = ("versions", "round_trip", "address", *(try_.__name__ for try_ in gate.TRIES))

CHECKS = (
    *(check.__name__ for check in machine.CHECKS),
    *("parameters", "decryption", "credentials", *_AFTER_CREDENTIALS, *_AFTER_LOGIN),
)
"""The names of all checks, in the order in which they are told."""


def run(*, target: str, user_path: str, only: str, confirmed: bool, as_json: bool) -> int:
    """Check this machine and the way to the login node; print a line for each check, or all as JSON.

    Args:
        target: `sandbox`: the one that the shell leads to, else one made for this; or `aws`: the caller's AWS credentials
            and the real login node.
        user_path: The prefix of the key's SSM parameters; empty for the one that functions use.
        only: The one command that the key's forced command always runs, or empty; `git_pull` for the prefix of its key.
        confirmed: Whether going to the real login node need not be confirmed on the terminal.
        as_json: Whether to print a JSON list of `{"check", "ok", "detail", "remedy"}`.

    Returns:
        0 if all passed, 1 if a check failed, 2 if none failed and one could not be tried: that is no pass.

    Raises:
        WorkspaceError: If there is no such target, it is not confirmed, or the AWS credentials or the sandbox cannot be used.
    """
    check_target(target)
    only = only or (UPDATE if user_path == UPDATE_USER_PATH else "")
    with _way(target, user_path, only, confirmed=confirmed) as going:
        with progress("checking this machine"):
            checks = [check() for check in machine.CHECKS]
        with progress("checking the way to the login node"):
            checks += walk(going)
    return tell(checks, as_json=as_json)


def walk(going: Way) -> list[Check]:
    """Go the way a step after the other; what comes after one that failed is not tried."""
    steps: tuple[Callable[[Way], Check], ...] = (way.parameters, way.decryption)
    checks: list[Check] = []
    for step in steps:
        checks.append(step(going))
        if not checks[-1].ok:
            return _left_out(checks)
    about, found = way.credentials(going)
    checks.append(about)
    if found is None:
        return _left_out(checks)
    checks.append(host_keys(found))
    # As a function does, but once: what only works at the second try is worth knowing.
    session = RaijinSession(going.user_path, ssm=going.ssm, retries=_RETRIES)
    try:
        checks.append(way.login(going, session))
        if not checks[-1].ok:
            return _left_out(checks)
        about, client = way.versions(going, session)
        checks += [about, way.round_trip(going, session), way.address(going, client)]
        checks += _tries(session, going.only)
    finally:
        session.close()
    return checks


def _tries(session: RaijinSession, only: str) -> list[Check]:
    """Try what the gate must refuse; a try that ends the connection must not spoil the next."""
    checks = []
    for try_ in gate.TRIES:
        try:
            transport = channels.transport_of(session)
        except (paramiko.SSHException, OSError) as error:
            checks.append(Check(try_.__name__, None, f"there is no connection: {error}"))
            continue
        checks.append(gate.attempt(try_, transport, only))
    return checks


def _left_out(checks: list[Check]) -> list[Check]:
    names = CHECKS[len(machine.CHECKS) + len(checks) :]
    because = f"not reached: {checks[-1].check} did not pass"
    return [*checks, *(Check(name, None, because) for name in names)]


@contextlib.contextmanager
def _way(target: str, user_path: str, only: str, *, confirmed: bool) -> Iterator[Way]:
    """Have the way that was asked for, as long as the context is open."""
    prefix = user_path or user_path_from(os.environ)
    if target == "aws":
        check_leads_to_aws(os.environ)
        aws_account.check_can_confirm(confirmed=confirmed)
        account = aws_account.account()
        if not confirmed:
            aws_account.confirm("check the way to the real login node", account)
        yield Way(prefix, only, ssm=account.ssm)
    elif leads_to_a_sandbox(os.environ):
        yield Way(prefix, only, ssm=exported_ssm())
    else:
        with starting("starting the sandbox", sandbox()) as box:
            yield Way(user_path or box.user_path, only, ssm=box.ssm())
