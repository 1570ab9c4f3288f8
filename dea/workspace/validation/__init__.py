"""Checks a package as it will be on Lambda: the zip alone, with nothing else on its path. `inv validate`.

    package    opens the zip, reads its manifest, and has an interpreter of its version look at it: probe
    checks     what is checked, a function for each: native (with headers), shapes and variables hold what takes longer
    tasks      what a person sees

A check says yes, no, or that it could not be tried here; the last is no pass.
"""

from dea.remote.checks import Check
from dea.workspace.validation.checks import CHECKS
from dea.workspace.validation.package import Opened, opened
from dea.workspace.validation.tasks import validate

__all__ = ["CHECKS", "Check", "Opened", "opened", "validate"]
