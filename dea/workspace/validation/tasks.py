"""What a person sees of a validation: a line for each check."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from dea.workspace import checkout, environment
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import STATUS_FAILED, print_json, progress
from dea.workspace.validation import variables
from dea.workspace.validation.checks import CHECKS
from dea.workspace.validation.package import opened

STATUS_NOT_TRIED = 2

_WORDS = {True: "ok", False: "failed", None: "not tried"}


def validate(name: str, *, zip_path: str, as_json: bool) -> int:
    """Check a function's package: print a line for each check, or all as JSON.

    Args:
        name: The function's name.
        zip_path: The zip; empty for `dist/NAME.zip`.
        as_json: Print a JSON list of `{"check", "ok", "detail", "remedy"}`; `ok` is null for what could not be tried.

    Returns:
        0 if all passed, 1 if a check failed, 2 if none failed and one could not be tried: that is no pass.

    Raises:
        WorkspaceError: If there is no such function or zip, or it cannot be unpacked.
    """
    function = checkout.function(name)
    path = Path(zip_path) if zip_path else checkout.ROOT / "dist" / f"{name}.zip"
    try:
        given = variables.placeholders(environment.read(function.folder / environment.FILE_NAME))
    except WorkspaceError:
        given = {}  # a check says why
    with progress(f"checking {path}"), opened(function, path, given) as package:
        checks = [check(package) for check in CHECKS]
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        for check in checks:
            remedy = f"; {check.remedy}" if check.remedy else ""
            print(f"{_WORDS[check.ok]:<10} {check.check:<13} {check.detail}{remedy}")
    if any(check.ok is False for check in checks):
        return STATUS_FAILED
    return STATUS_NOT_TRIED if any(check.ok is None for check in checks) else 0
