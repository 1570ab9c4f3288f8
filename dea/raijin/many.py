"""Performs many calls at once, a bounded number at a time, so that one failure does not hide what the others gave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from dea.raijin.errors import RaijinError, SomeFailed
from dea.raijin.result import CommandResult


def perform_all(performances: Sequence[Callable[[], CommandResult]], max_parallel: int) -> list[CommandResult]:
    """Perform all and return their results in order.

    Args:
        performances: What each does.
        max_parallel: How many to have going at once.

    Raises:
        SomeFailed: If any raised a `RaijinError`, once all are through.
    """

    def perform(one: Callable[[], CommandResult]) -> CommandResult | RaijinError:
        try:
            return one()
        except RaijinError as error:
            return error

    with ThreadPoolExecutor(max_parallel, thread_name_prefix="dea-run-many") as pool:
        ended = list(pool.map(perform, performances))
    results = [one for one in ended if isinstance(one, CommandResult)]
    if len(results) < len(ended):
        at, first = next((at, one) for at, one in enumerate(ended, 1) if isinstance(one, RaijinError))
        raise SomeFailed(
            f"{len(ended) - len(results)} of {len(ended)} calls have no result; the first of them is number {at}: "
            f"{type(first).__name__}: {first}",
            tuple(ended),
        )
    return results
