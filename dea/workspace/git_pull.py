"""Triggers an update of the login node with the key that can do nothing else, and shows what changed: `inv git-pull`."""

from __future__ import annotations

import json
import sys
from typing import Any

from dea.raijin import RaijinError, RaijinSession
from dea.workspace import aws_account
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import print_json, progress

DEFAULT_USER_PATH = "orchestrator.raijin.users.git_pull"
"""The prefix of that key's SSM parameters; the function git_pull's `env_vars.yaml` has the same."""


def run(user_path: str, *, confirmed: bool, as_json: bool) -> int:
    """Have the login node update itself, with the caller's own AWS credentials.

    Args:
        user_path: The prefix of the key's SSM parameters; empty for `DEFAULT_USER_PATH`.
        confirmed: Whether it need not be confirmed on the terminal.
        as_json: Whether to print the report itself.

    Returns:
        git_pull's own exit status.

    Raises:
        WorkspaceError: If it is not confirmed, the login node cannot be reached, or it answers something else than a report.
    """
    prefix = user_path or DEFAULT_USER_PATH
    aws_account.check_can_confirm("it", confirmed=confirmed)
    account = aws_account.account()
    if not confirmed:
        aws_account.confirm("update the real login node", account)
    try:
        with progress("updating the login node"), RaijinSession(prefix, ssm=account.ssm) as session:
            result = session.exec_command("git_pull", max_output=None)
    except RaijinError as error:
        raise WorkspaceError(str(error)) from error
    sys.stderr.write(result.stderr)
    if result.exit_code != 0:
        return result.exit_code
    try:
        report: dict[str, Any] = json.loads(result.stdout)
        lines = _lines(report)
    except (ValueError, KeyError, TypeError) as error:
        raise WorkspaceError(
            f"the answer is no report of git_pull: is the forced command of the key at {prefix} the right one?"
        ) from error
    if as_json:
        print_json(report)
    else:
        sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


def _lines(report: dict[str, Any]) -> list[str]:
    lines = [f"old   {report['old'] or '(nothing served)'}", f"new   {report['new']}"]
    for name, about in report["commands"].items():
        install = "" if about["install"] == "none" else f", install.sh: {about['install']}"
        if about["change"] != "unchanged" or about["install"] == "installed":
            lines.append(f"      {name}: {about['change']}{install}")
    lines += [f"      removed {name}" for name in report["removed"]]
    return [*lines, f"time  {report['duration_s']:.1f} s" + ("" if report["switched"] else ", nothing is new")]
