"""Reads YAML files without what plain YAML does behind a reader's back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """YAML in which a repeated key, of which plain YAML takes the last, is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Make a mapping whose keys are all different."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r:.60} is there twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def load(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises:
        FileNotFoundError: If there is none: its reader knows what that means.
        ValueError: If it cannot be read or is not valid YAML, with the reason on one line.
    """
    try:
        return yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise
    # Beside its own errors yaml lets through those of what it makes a value with: 2026-02-30 is no date.
    except (OSError, yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error
