"""Holds the Python API to its promise: every name that a public package exports is documented, or the build says which is not."""

from __future__ import annotations

import importlib

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

PACKAGES = (
    "dea.raijin",
    "dea.lambdas",
    "dea.lambdas.jobs",
    "dea.remote.contract",
    "dea.workspace.sandbox",
    "dea.workspace.faults",
)

_logger = logging.getLogger(__name__)


def check(_app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of each exported name without an entry."""
    documented = env.domains["py"].objects  # type: ignore[attr-defined]
    for package in PACKAGES:
        last = {name.rpartition(".")[2] for name in documented if name.startswith(f"{package}.")}
        for name in importlib.import_module(package).__all__:
            if name not in last:
                _logger.warning("%s.%s is exported and not documented in reference/python-api.md", package, name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the check with Sphinx."""
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
