"""Keeps the SSH connection from one invocation to the next: Lambda freezes a process in between, and thaws it.

A command takes the idle session of its user and gives it back at its end; the session itself finds out whether its
connection is still alive before anything is sent. Two commands at the same time have two sessions, since a session has one
delivery's run ids and one deadline; one of them is kept.
"""

from __future__ import annotations

import atexit
import logging
import threading

from dea.raijin import RaijinSession

_idle: dict[tuple[str, str], RaijinSession] = {}
_lock = threading.Lock()


def take(user_path: str, logger: logging.Logger) -> RaijinSession:
    """Return the idle session of a user that logs to this logger, or a new one, not yet connected."""
    with _lock:
        kept = _idle.pop((user_path, logger.name), None)
    return kept or RaijinSession(user_path=user_path, logger=logger)


def give_back(session: RaijinSession, user_path: str, logger: logging.Logger) -> None:
    """Keep a session for the next command of its user; close it if there is one already."""
    with _lock:
        kept = _idle.setdefault((user_path, logger.name), session)
    if kept is not session:
        session.close()


@atexit.register
def close() -> None:
    """Close all idle sessions, as happens by itself when the process ends."""
    with _lock:
        idle = list(_idle.values())
        _idle.clear()
    for session in idle:
        session.close()
