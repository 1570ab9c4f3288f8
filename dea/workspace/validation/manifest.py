"""Reads what a package says of itself, `dea_package.json`, as far as it is checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dea.workspace import settings
from dea.workspace.packaging import Target

FORMAT = 1


class Unreadable(ValueError):
    """There is no manifest, or it is not one of this format; the text says which."""


@dataclass(frozen=True)
class Part:
    """What a package was made of.

    Attributes:
        version: The version of the distribution that it was.
        modules: What it makes importable.
    """

    version: str
    modules: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """What a package says of itself.

    Attributes:
        function: The function's name.
        handler: The handler, `MODULE.FUNCTION`.
        target: What it is made for.
        requirements: The third-party requirements that apply to the target.
        parts: Its parts by their distributions' names, in their canonical form.
    """

    function: str
    handler: str
    target: Target
    requirements: tuple[Requirement, ...]
    parts: dict[str, Part]

    def part_of(self, requirement: Requirement) -> Part | None:
        """Return the part that is there for a requirement, or None."""
        return self.parts.get(canonicalize_name(requirement.name))

    def required_modules(self) -> list[str]:
        """Return what the required parts make importable, sorted."""
        return sorted({module for one in self.requirements if (part := self.part_of(one)) for module in part.modules})


def read(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        Unreadable: If it cannot be.
    """
    try:
        return _parsed(json.loads(path.read_bytes()))
    except OSError:
        raise Unreadable(f"it has no {path.name}: it was not made by inv package") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"its {path.name} is not as inv package writes it: {error!r:.120}") from error


def _parsed(content: Any) -> Manifest:
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']!r:.20}, not {FORMAT}")
    target = Target(
        settings.supported_python(content["python"]), settings.supported_architecture(content["architecture"])
    )
    wanted = [Requirement(line) for line in content["requirements"]]
    return Manifest(
        function=str(content["function"]),
        handler=str(content["handler"]),
        target=target,
        requirements=tuple(one for one in wanted if _applies(one, target)),
        parts={
            canonicalize_name(part["name"]): Part(str(part["version"]), tuple(map(str, part["modules"])))
            for part in content["parts"]
        },
    )


def _applies(requirement: Requirement, target: Target) -> bool:
    environment = {
        "python_version": target.python,
        "python_full_version": f"{target.python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": target.machine,
        "os_name": "posix",
    }
    return requirement.marker is None or requirement.marker.evaluate(environment)
