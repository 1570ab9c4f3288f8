"""Looks at what a developer's machine and the way to the login node need: `inv doctor`.

`machine` is about this machine, `way` about what lies between a function and an answer of the login node, `gate` tries what
the key must not be able to do. What is wrong on the login node itself, `dea.remote.doctor` finds there.
"""

from dea.workspace.doctor.tasks import CHECKS, run

__all__ = ["CHECKS", "run"]
