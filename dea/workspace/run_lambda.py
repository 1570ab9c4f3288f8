"""Runs a function on the sandbox or with the caller's own AWS credentials: `inv run-lambda`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable

from dea.raijin.credentials import user_path_from
from dea.workspace import checkout, environment, events
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import console, print_json, starting
from dea.workspace.invocation import invoke
from dea.workspace.sandbox import sandbox

TARGETS = ("sandbox", "aws")
TIMEOUT_S = 900.0  # the longest that Lambda allows


def run(name: str, *, environment_name: str | None, event: str, settings: Iterable[str], target: str) -> int:
    """Run a function once: print what was set, the log, and the result as JSON on stdout.

    Args:
        name: The function's name.
        environment_name: The environment of its `env_vars.yaml`; None for `default`.
        event: A path, a JSON text, or `-` for standard input.
        settings: `NAME=VALUE` texts that win over the file.
        target: `sandbox`, or `aws` for the caller's own credentials.

    Returns:
        0 if the handler returned, else 1.

    Raises:
        WorkspaceError: If something that was asked for does not exist or is not as it should be.
    """
    if target not in TARGETS:
        raise WorkspaceError(f"--target {target!r} is not known: choose one of {', '.join(TARGETS)}")
    function = checkout.function(name)
    declared = environment.read(function.folder / environment.FILE_NAME)
    resolved = declared.resolve(environment_name, environment.parse_settings(settings), os.environ)
    parsed_event = events.read(event)
    for line in resolved.shown():
        console.print(f"set {line}", markup=False, soft_wrap=True)
    # The shell's own AWS settings lead to a real account: only `aws` may see them.
    base = {**os.environ, **resolved.values}
    with contextlib.ExitStack() as stack:
        if target == "sandbox":
            box = stack.enter_context(starting("starting the sandbox", sandbox(user_path=user_path_from(base))))
            base = box.environment(base | environment.fetch(resolved.parameters, box.ssm()))
        else:
            base |= environment.fetch(resolved.parameters, None)
        answer = invoke(function, parsed_event, base, TIMEOUT_S)
    if "result" in answer:
        print_json(answer["result"])
        return 0
    for line in answer.get("stackTrace", ()):
        sys.stderr.write(line)
    console.print(f"{answer['errorType']}: {answer['errorMessage']}", markup=False, soft_wrap=True)
    return 1
