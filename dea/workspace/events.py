"""Reads an event from where a person has it: a file, a JSON text, or standard input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from dea.workspace.errors import WorkspaceError


def read(source: str) -> Any:
    """Return the event.

    Args:
        source: A path, a JSON text, or `-` for standard input.

    Raises:
        WorkspaceError: If it is neither, or not valid JSON.
    """
    if source == "-":
        return _parse(sys.stdin.read(), "standard input")
    if source.lstrip()[:1] in ("{", "[", '"'):
        return _parse(source, "the text given")
    path = Path(source)
    try:
        return _parse(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        try:
            return json.loads(source)  # a bare number, true, null
        except ValueError:
            raise WorkspaceError(f"--event {source!r:.200} is neither a readable file ({error}) nor JSON") from error


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise WorkspaceError(f"the event in {where} is not valid JSON: {error}") from error
