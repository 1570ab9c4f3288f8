"""Keeps every process of the sandbox on a lead, so that none is left behind (prctl(2); on Linux, elsewhere best effort)."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
import time

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_END_TIMEOUT_S = 5.0


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of whatever this process's descendants leave behind."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_descendants() -> None:
    """Kill all descendants, and those that they start meanwhile; returns when there are none."""
    me = psutil.Process()
    deadline = time.monotonic() + _END_TIMEOUT_S
    while (descendants := me.children(recursive=True)) and time.monotonic() < deadline:
        for process in descendants:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(descendants, timeout=0.5)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
