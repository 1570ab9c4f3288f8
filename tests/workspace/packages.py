"""Packages made by hand, as small as a test wants them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path


def make_package(
    path: Path,
    files: dict[str, str | bytes],
    *,
    function: str = "made",
    python: str = "3.13",
    architecture: str = "x86_64",
) -> Path:
    """Write a package with these files and a manifest; the handler is `handler` in the module of the function's name."""
    manifest = {
        "format": 1,
        "function": function,
        "handler": f"{function}.handler",
        "python": python,
        "architecture": architecture,
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**files, "dea_package.json": json.dumps(manifest)}.items():
            archive.writestr(name, content)
    return path
