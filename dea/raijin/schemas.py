"""The argument schemas of the commands that a function runs, as they travel in its package.

`inv package` puts them there, from the approvals of the commands that `function.yaml` names; in a checkout the approvals
themselves are read, also where these packages are installed as plain files, as for a function's own tests: then the checkout
is the current folder. They let `RaijinSession.run` fail early and clearly; the login node stays the authority.
"""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dea.raijin.errors import RequestRefused
from dea.remote.contract import is_name, shown
from dea.remote.contract.packaged import FILE, FORMAT
from dea.remote.contract.schema import is_sound

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
        RequestRefused: If neither the package nor the checkout has one that can be used.
    """
    if not is_name(command):
        # An event may have brought it: it is to be no path, and fills no log.
        raise RequestRefused(f"there is no argument schema of {shown(command)}: that is no command's name")
    packaged = _packaged(tuple(sys.path))
    if packaged is not None:
        if command not in packaged:
            raise RequestRefused(
                f"this package has no argument schema of {command!r}: name it in function.yaml under commands, and package again"
            )
        return packaged[command]
    try:
        paths = [root / "raijin_scripts" / command / "approved.json" for root in (_CHECKOUT, Path.cwd())]
        return _schema_in(json.loads(next((path for path in paths if path.is_file()), paths[0]).read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise RequestRefused(
            f"there is no argument schema of {command!r}: in a package, function.yaml must name it under commands; "
            f"in a checkout, approve it with inv approve --name {command}"
        ) from error


def _schema_in(document: Any) -> Schema:
    """Return the schema in what an approval, or a package, says of a command.

    Raises:
        ValueError: If there is none that is wholly understood.
    """
    if isinstance(document, dict) and is_sound(document.get("arguments")) and isinstance(document.get("schema"), str):
        return Schema(document["arguments"], document["schema"])
    raise ValueError("no argument schema, or one for another version of this package")


@functools.cache
def _packaged(folders: tuple[str, ...]) -> dict[str, Schema] | None:
    """Return the schemas in the package that this process runs from, or None if it runs from none."""
    for folder in folders:
        path = Path(folder) / FILE
        try:
            content = path.read_bytes()
        except OSError:
            continue
        try:
            return _schemas_in(json.loads(content))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RequestRefused(f"{path} cannot be used ({error}): package the function again") from error
    return None


def _schemas_in(content: Any) -> dict[str, Schema]:
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']!r}, not {FORMAT}")
    return {name: _schema_in(document) for name, document in content["commands"].items()}
