"""A function's process: started as Lambda would, its memory watched, and ended with all that it started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from dea.workspace.sandbox.processes import die_with_parent

_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE = 1
_TREE_INTERVAL_S = 0.1
_PEAK = re.compile(rb"^VmHWM:\s+(\d+) kB", re.MULTILINE)

_libc = ctypes.CDLL(None)


class FunctionProcess:
    """A running process.

    Args:
        arguments: What to run.
        environment: Its whole environment.
        folder: Its current folder.
        log: The descriptor that its stdout and stderr go to.
        obey_modes: Keep even root from writing to what has no write permission.

    Note:
        It must be made while this process has one thread: what runs between fork and exec is Python.
    """

    def __init__(
        self, arguments: Sequence[str | Path], environment: dict[str, str], folder: Path, *, log: int, obey_modes: bool
    ) -> None:
        self._peak_bytes = 0
        self._tree_bytes = 0
        self._tree_at = 0.0
        self._popen = subprocess.Popen(
            arguments,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # the terminal's Ctrl-C is for the task, which ends this
            preexec_fn=_on_lead_without_override if obey_modes else die_with_parent,  # noqa: PLW1509 - see the note
        )
        self._process = psutil.Process(self._popen.pid)

    def status(self) -> int | None:
        """Return the exit status, negative for a signal, or None while it runs."""
        return self._popen.poll()

    def memory_bytes(self) -> int:
        """Return the most memory that was in use so far, by this process and by what it started.

        The kernel keeps the process's own peak, so that none is missed. That of its children is looked at now and then.
        """
        with contextlib.suppress(OSError):
            if found := _PEAK.search(Path(f"/proc/{self._popen.pid}/status").read_bytes()):
                self._peak_bytes = max(self._peak_bytes, int(found[1]) * 1024)
        now = time.monotonic()
        if now - self._tree_at > _TREE_INTERVAL_S:
            self._tree_at = now
            with contextlib.suppress(psutil.NoSuchProcess):
                if children := self._process.children(recursive=True):
                    self._tree_bytes = max(self._tree_bytes, sum(map(_resident_bytes, (self._process, *children))))
        return max(self._peak_bytes, self._tree_bytes)

    def end(self) -> None:
        """Kill it and all that it started, as Lambda does: nothing is asked first."""
        family = [self._process]
        with contextlib.suppress(psutil.NoSuchProcess):
            family += self._process.children(recursive=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)  # a group outlives its leader
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._popen.wait()


def exit_reason(status: int) -> str:
    """Return how Lambda words an exit.

    >>> exit_reason(3), exit_reason(-9), exit_reason(-11), exit_reason(0)
    ('Runtime exited with error: exit status 3', 'Runtime exited with error: signal: killed', \
'Runtime exited with error: signal: segmentation fault', 'Runtime exited without providing a reason')
    """
    if status == 0:
        return "Runtime exited without providing a reason"
    if status > 0:
        return f"Runtime exited with error: exit status {status}"
    return f"Runtime exited with error: signal: {(signal.strsignal(-status) or str(-status)).lower()}"


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _on_lead_without_override() -> None:
    # Root writes where modes forbid it by a capability (capabilities(7)). Out of the bounding set, the exec that follows drops
    # it. Where that is not allowed, this is no root whom modes could not keep out.
    _libc.prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0)
    die_with_parent()
