"""How a new attempt of a run is named: after the run, with its number."""

from __future__ import annotations

import hashlib

from dea.remote.contract.request import MAX_RUN_ID_LENGTH

_DIGEST_LENGTH = 10


def attempt_id(run_id: str, attempt: int, number: int) -> str:
    """Return the id of another attempt.

    Args:
        run_id: The id of the run, or of one of its attempts.
        attempt: Which attempt that is.
        number: The number of the new one.

    >>> attempt_id("a-run-id", 1, 2), attempt_id("a-run-id-a2", 2, 3)
    ('a-run-id-a2', 'a-run-id-a3')
    """
    first = run_id.removesuffix(f"-a{attempt}") if attempt > 1 else run_id
    suffix = f"-a{number}"
    if len(first) + len(suffix) <= MAX_RUN_ID_LENGTH:
        return first + suffix
    # Two long ids can begin alike.
    digest = hashlib.sha256(first.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{first[: MAX_RUN_ID_LENGTH - len(suffix) - _DIGEST_LENGTH - 1]}-{digest}{suffix}"
