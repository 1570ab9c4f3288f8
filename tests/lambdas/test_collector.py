"""Garbage is collected in a function as ever, but what the imports made is left out of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """\
import gc, sys
if sys.argv[1] == "off":
    gc.disable()
passes = []
gc.callbacks.append(lambda phase, about: passes.append(phase))
import dea.lambdas
print(gc.isenabled(), gc.get_freeze_count() > 10_000, len(passes) < 10)
"""


@pytest.mark.parametrize(("before", "after"), [("on", "True"), ("off", "False")])
def test_the_imports_leave_the_collector_as_it_was_and_are_not_looked_through(before: str, after: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, before], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [after, "True", "True"]
