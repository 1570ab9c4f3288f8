"""The argument schemas of the commands that a function runs, as they travel in its package.

`inv package` puts them there, from the approvals of the commands that `function.yaml` names; in a checkout the approvals
themselves are read. They let `RaijinSession.run` fail early and clearly; the login node stays the authority.
"""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dea.raijin.errors import RequestRefused
from dea.remote.contract.packaged import FILE, FORMAT

_CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Schema:
    """What a command's arguments must be.

    Attributes:
        arguments: The compiled schema (`dea.remote.contract.bind`).
        digest: Its SHA-256, by which two ends compare theirs.
    """

    arguments: Any
    digest: str


def schema_of(command: str) -> Schema:
    """Return the schema of a command.

    Raises:
        RequestRefused: If neither the package nor the checkout has one.
    """
    packaged = _packaged(tuple(sys.path))
    if packaged is not None:
        if command not in packaged:
            raise RequestRefused(
                f"this package has no argument schema of {command!r}: name it in function.yaml under commands, and package again"
            )
        return packaged[command]
    try:
        approved = json.loads((_CHECKOUT / "raijin_scripts" / command / "approved.json").read_text("utf-8"))
        return Schema(approved["arguments"], approved["schema"])
    except (OSError, ValueError, KeyError) as error:
        raise RequestRefused(
            f"there is no argument schema of {command!r}: in a package, function.yaml must name it under commands; "
            f"in a checkout, approve it with inv approve --name {command}"
        ) from error


@functools.cache
def _packaged(folders: tuple[str, ...]) -> dict[str, Schema] | None:
    """Return the schemas in the package that this process runs from, or None if it runs from none."""
    for folder in folders:
        path = Path(folder) / FILE
        try:
            content = json.loads(path.read_text("utf-8"))
        except OSError:
            continue
        if content.get("format") != FORMAT:
            raise RequestRefused(
                f"{path} has format {content.get('format')!r}, not {FORMAT}: package the function again"
            )
        return {name: Schema(one["arguments"], one["schema"]) for name, one in content["commands"].items()}
    return None
