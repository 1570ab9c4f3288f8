"""Stops processes where they are, as a node that hangs does: connections stay open, and nothing answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psutil


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[list[psutil.Process]]:
    """Freeze a process and all that it has started, with SIGSTOP, while the context is open.

    Args:
        pid: The process.

    Yields:
        What is frozen. What has ended meanwhile is left out, and what they start later cannot be.
    """
    stopped = []
    with contextlib.ExitStack() as thawing:
        # The parent first: it starts nothing more while its children are looked up.
        for process in _family(psutil.Process(pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
                stopped.append(process)
                thawing.callback(_thaw, process)
        yield stopped


def _family(process: psutil.Process) -> Iterator[psutil.Process]:
    yield process
    for child in process.children():
        yield from _family(child)


def _thaw(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.resume()
