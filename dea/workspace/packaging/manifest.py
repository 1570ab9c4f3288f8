"""What a package says of itself, `dea_package.json`: its name and format, and the one reader of it.

`dea.workspace.packaging.assembly` writes it, with more in it than is read here: docs/reference/package.md has it all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dea.workspace import settings
from dea.workspace.packaging.requirements import normalised
from dea.workspace.packaging.targets import Target

if TYPE_CHECKING:
    from packaging.requirements import Requirement

FILE = "dea_package.json"
"""The file in a package's root that says what the package was made of."""

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
        parts: Its parts by their distributions' names, normalised.
    """

    function: str
    handler: str
    target: Target
    requirements: tuple[Requirement, ...]
    parts: dict[str, Part]

    def part_of(self, requirement: Requirement) -> Part | None:
        """Return the part that is there for a requirement, or None."""
        return self.parts.get(normalised(requirement.name))

    def required_modules(self) -> list[str]:
        """Return what the required parts make importable, sorted."""
        return sorted({module for one in self.requirements if (part := self.part_of(one)) for module in part.modules})


def parse(content: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        Unreadable: If it is not one.
    """
    try:
        return _parsed(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"its {FILE} is not as inv package writes it: {error!r:.120}") from error


def _parsed(content: Any) -> Manifest:
    from packaging.requirements import Requirement  # noqa: PLC0415 - slow to import, and a warm build reads no manifest

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
        requirements=tuple(
            one for one in wanted if one.marker is None or one.marker.evaluate(target.marker_environment)
        ),
        parts={
            normalised(part["name"]): Part(str(part["version"]), tuple(map(str, part["modules"])))
            for part in content["parts"]
        },
    )
