"""What a person sees of a validation: a line for each check."""

from __future__ import annotations

from pathlib import Path

from dea.workspace import checkout, environment
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import progress, tell
from dea.workspace.validation import variables
from dea.workspace.validation.checks import CHECKS
from dea.workspace.validation.package import opened


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
    return tell(checks, as_json=as_json)
