"""When to try again and until when: exponential backoff with full jitter, a deadline, a budget. No input and no output.

It does not know what is tried: `dea.raijin.runs` does.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_LAST_TRY_S = 0.1  # what is left of a deadline is not worth another try


@dataclass(frozen=True, slots=True)
class Retries:
    """How to try again after the connection was lost, or while the login node is busy.

    Attributes:
        base_s: The longest wait before the second try, in seconds; it doubles with each failure in a row.
        cap_s: The longest wait of all.
        give_up_s: Without a timeout of the caller's: how long nothing may be heard of the run before the call gives up. A
            connection that holds is waited on for as long as the run takes.
    """

    base_s: float = 0.2
    cap_s: float = 10.0
    give_up_s: float = 60.0

    def wait_s(self, failures: int, draw: float) -> float:
        """Return how long to wait after so many failures in a row: full jitter, so that many clients do not come back at once.

        Args:
            failures: At least 1.
            draw: Evenly drawn from 0 to 1.

        >>> Retries(base_s=1, cap_s=5).wait_s(3, 0.5), Retries(base_s=1, cap_s=5).wait_s(9, 1.0)
        (2.0, 5.0)
        """
        return draw * min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 60))


class Deadline:
    """A moment by which a call must be over.

    Args:
        timeout_s: Seconds from now; None for never.
        remaining_s: Tells how many seconds there are besides, anew at each look; None for no such end.
        clock: Tells the time.
    """

    def __init__(
        self,
        timeout_s: float | None,
        remaining_s: Callable[[], float] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._at = None if timeout_s is None else clock() + timeout_s
        self._told = remaining_s

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.remaining_s() == 0.0

    def remaining_s(self) -> float | None:
        """Return the seconds that are left, never less than none; None if there is no end."""
        left = [] if self._at is None else [self._at - self._clock()]
        if self._told is not None:
            left.append(self._told())
        return max(0.0, min(left)) if left else None

    def within(self, limit_s: float) -> float:
        """Return a limit, cut to what is left.

        >>> Deadline(None).within(5.0)
        5.0
        """
        remaining = self.remaining_s()
        return limit_s if remaining is None else min(limit_s, remaining)


class Tries:
    """The tries of one call: how long to wait before the next, and whether there is one.

    Args:
        retries: How to try again.
        deadline: By when.
        clock: Tells the time.
        draw: Draws evenly from 0 to 1.
    """

    def __init__(
        self,
        retries: Retries,
        deadline: Deadline,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.failures = 0
        self._retries = retries
        self._deadline = deadline
        self._clock = clock
        self._draw = draw
        self._heard_at = clock()

    def heard(self) -> None:
        """Note that something was heard of the run: the count of failures in a row begins anew."""
        self.failures = 0
        self._heard_at = self._clock()

    def pause_s(self, *, at_least_s: float = 0.0) -> float | None:
        """Count a failure; return how long to wait before the next try, or None if there shall be none.

        Args:
            at_least_s: What the other end asks for.
        """
        self.failures += 1
        wait_s = at_least_s + self._retries.wait_s(self.failures, self._draw())
        remaining_s = self._deadline.remaining_s()
        if remaining_s is None:
            over = self._clock() + wait_s - self._heard_at > self._retries.give_up_s
            return None if over else wait_s
        if remaining_s <= max(_LAST_TRY_S, at_least_s):
            return None
        # Up to the deadline: rather an early try than none.
        return max(at_least_s, min(wait_s, remaining_s / 2))


class TokenBucket:
    """Bounds how often something is done: a burst, then a rate. It never refuses, it says how long to wait.

    Args:
        rate_per_s: How many tokens come back in a second.
        burst: How many there are at the most.
        clock: Tells the time.
    """

    def __init__(self, rate_per_s: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate_per_s = rate_per_s
        self._burst = float(burst)
        self._clock = clock
        self._tokens = self._burst
        self._counted_at = clock()
        self._lock = threading.Lock()

    def take_s(self) -> float:
        """Take a token and return the seconds until it is there."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._counted_at) * self._rate_per_s)
            self._counted_at = now
            self._tokens -= 1.0
            return max(0.0, -self._tokens / self._rate_per_s)
