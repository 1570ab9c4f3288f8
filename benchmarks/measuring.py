"""Measures by turns and says how far apart the rounds were. What is measured, each benchmark knows itself."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Side = TypeVar("Side")


class Turns:
    """The rounds of a benchmark: iterating gives their numbers, and shows on stderr how far it is.

    Args:
        most: How many there are at most.
        least: How many there are however long they take.
        limit_s: No further round begins that would not end within so many seconds, as long as those before took.

    Attributes:
        done: How many there have been.
    """

    def __init__(self, most: int, least: int, limit_s: float) -> None:
        self._most, self._least, self._limit_s = most, least, limit_s
        self.done = 0

    def __iter__(self) -> Iterator[int]:
        begin = time.monotonic()
        for number in range(self._most):
            took_s = time.monotonic() - begin
            if number >= self._least and took_s + took_s / number > self._limit_s:
                break
            yield number
            self.done = number + 1
            print(f"\rround {self.done} of {self._most}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)

    def seconds(self, calls: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
        """Return the seconds of each call, one for each round."""
        measured: dict[str, list[float]] = {name: [] for name in calls}
        for number in self:
            for name in in_turn(list(calls), number):
                begin = time.perf_counter()
                calls[name]()
                measured[name].append(time.perf_counter() - begin)
        return measured


def in_turn(sides: Sequence[Side], number: int) -> Sequence[Side]:
    """Return the sides in the order of a round: the other way round every other time, so that what drifts meets all alike."""
    return sides if number % 2 else sides[::-1]


@dataclass(frozen=True)
class Spread:
    """The median of the rounds and their quartiles.

    Attributes:
        median: The median.
        q1: The first quartile.
        q3: The third.
    """

    median: float
    q1: float
    q3: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of two values or more."""
        q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, q1, q3)

    def text(self, digits: int = 1, times: float = 1) -> str:
        """Return it as a table shows it, `median (first to third)`, in another unit if it is multiplied."""
        median, q1, q3 = (f"{value * times:.{digits}f}" for value in (self.median, self.q1, self.q3))
        return f"{median} ({q1} to {q3})"


def ratio(ones: Sequence[float], others: Sequence[float]) -> Spread:
    """Return the spread of the ratio within each round."""
    return Spread.of([one / other for one, other in zip(ones, others, strict=True)])
