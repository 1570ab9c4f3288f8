"""How long a command may wait for the login node before Lambda ends its process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MARGIN_S = 10.0
"""What is kept of the function's time, in seconds: to give the answer, and for whatever the command does last."""

_MARGIN_SHARE = 0.2  # of a short timeout, so that there is something left to wait in


def time_left(context: Any, margin_s: float = MARGIN_S) -> Callable[[], float] | None:
    """Return a function that tells how many seconds there are to wait, less a margin; None where there is no limit.

    Args:
        context: Lambda's context object, or None.
        margin_s: What to keep, but no more than a fifth of what there is now.
    """
    remaining_ms = getattr(context, "get_remaining_time_in_millis", None)
    if not callable(remaining_ms):
        return None
    kept_s = min(margin_s, _MARGIN_SHARE * remaining_ms() / 1000)
    return lambda: remaining_ms() / 1000 - kept_s
