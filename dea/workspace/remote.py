"""Runs commands as the login node does, on the sandbox, and keeps a sandbox up: `inv remote`, `inv sandbox`."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from typing import get_args

from dea.raijin import RaijinError
from dea.workspace import checkout
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import console, print_json, starting
from dea.workspace.sandbox import LoginNodeKind, exported_session, leads_to_a_sandbox, sandbox

STARTING = "starting the sandbox"


def run(name: str, arguments: str) -> int:
    """Run one command through a sandbox's login node; its output and exit status become this process's own.

    It is the sandbox that the environment leads to, if it leads to one, else one for this command alone.

    Args:
        name: The command's name.
        arguments: Its arguments, quoted as for a shell.

    Raises:
        WorkspaceError: If there is no such command or the sandbox does not start.
    """
    checkout.command(name)
    try:
        with contextlib.ExitStack() as stack:
            if leads_to_a_sandbox(os.environ):
                session = stack.enter_context(starting("connecting to the sandbox", exported_session()))
            else:
                session = stack.enter_context(stack.enter_context(starting(STARTING, sandbox())).session())
            result = session.exec_command(f"{name} {arguments}".rstrip(), max_output=None)
    except RaijinError as error:
        raise WorkspaceError(str(error)) from error
    sys.stdout.write(result.stdout)
    sys.stderr.write(result.stderr)
    return result.exit_code


def stay_up(login_node: str | None, *, as_json: bool) -> None:
    """Keep a sandbox up until Ctrl-C or a TERM signal; print what to export on stdout.

    Raises:
        WorkspaceError: If it cannot be started.
    """
    kinds: tuple[LoginNodeKind, ...] = get_args(LoginNodeKind)
    kind = next((one for one in kinds if one == login_node), None)
    if login_node is not None and kind is None:
        raise WorkspaceError(f"--login-node {login_node!r} is not known: choose one of {', '.join(kinds)}")
    with contextlib.suppress(KeyboardInterrupt), starting(STARTING, sandbox(kind)) as box:
        if as_json:
            print_json({"login_node": box.login_node, "host": box.host, "port": box.port, "variables": box.variables})
        else:
            # A profile or session token of the user's would be tried before these.
            inherited = sorted(name for name in os.environ if name.startswith("AWS_") and name not in box.variables)
            sys.stdout.writelines(f"unset {name}\n" for name in inherited)
            sys.stdout.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in box.variables.items())
        sys.stdout.flush()
        console.print(f"the sandbox is up ({box.login_node} on port {box.port}); Ctrl-C ends it", markup=False)
        while True:
            signal.pause()
    console.print("the sandbox is gone", markup=False)
