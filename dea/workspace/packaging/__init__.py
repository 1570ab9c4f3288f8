"""Packages of Lambda functions: locked, built for their target, the same bytes from the same inputs.

    requirements -> locking                   what a function needs, pinned
    sources -> inspection                     the checkout's own files, read once and looked at
    distributions -> rules -> bytecode        installed, selected, compiled
    -> segments -> parts -> assembly          compressed once, kept in the cache, joined into the zip

The tasks' side, what a person sees, is in `dea.workspace.packaging.tasks`.
"""

from dea.workspace.packaging.assembly import Package, build
from dea.workspace.packaging.locking import lock, target_of
from dea.workspace.packaging.manifest import FILE as MANIFEST
from dea.workspace.packaging.targets import Target

__all__ = ["MANIFEST", "Package", "Target", "build", "lock", "target_of"]
