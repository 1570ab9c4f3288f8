"""A token bucket for the requests of all keys together: a client that goes wild must not load the login node.

Every request takes a token, polls too; tokens come back at a steady rate, up to a number. It is politeness, no safety: where
its file cannot be written, requests pass.
"""

import fcntl
import os
import time

BURST = 1000
"""How many requests may come at once, unless the site says otherwise."""

PER_SECOND = 50.0
"""How many more may come each second, unless the site says otherwise."""

_LOCK_TIMEOUT_S = 1.0


def take_token(state: str, burst: int, per_second: float) -> "float | None":
    """Take a token.

    Args:
        state: The state folder.
        burst: How many tokens there are at most.
        per_second: How many come back each second.

    Returns:
        None, or how many seconds it takes until there is one.
    """
    try:
        descriptor = os.open(
            os.path.join(state, "requests"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
    except OSError:
        return None  # the first request makes the state folder, or is refused because it cannot
    try:
        _lock(descriptor)
        # The wall clock, because login nodes share nothing better; one that is wrong or went back gives nothing, takes nothing.
        now = time.time()
        tokens, since = _read(descriptor, burst, now)
        tokens = min(float(burst), tokens + max(0.0, now - since) * per_second)
        wait_s = None if tokens >= 1 else round((1 - tokens) / per_second, 3)
        # One length whatever the numbers, written over the former ones: no moment without a content.
        os.pwrite(descriptor, b"%20.6f %20.6f\n" % (tokens - 1 if tokens >= 1 else tokens, max(now, since)), 0)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return wait_s


def _read(descriptor: int, burst: int, now: float) -> "tuple[float, float]":
    try:
        tokens, since = (float(word) for word in os.pread(descriptor, 64, 0).split())
    except ValueError:
        tokens = since = -1.0
    if not 0 <= tokens < 1e12 or not 0 <= since < 1e12:
        return float(burst), now  # it is new, or not what was written
    # A time far ahead is a broken clock's: believed, it would keep the bucket empty until then.
    return tokens, since if since <= now + 60 else now


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.001)
