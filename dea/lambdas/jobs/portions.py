"""Divides what is sent into as much as one request takes: so many things, and so many bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_Thing = TypeVar("_Thing")


def portions(
    things: Iterable[_Thing], size_of: Callable[[_Thing], int], *, most: int, most_bytes: int
) -> Iterator[list[_Thing]]:
    """Divide things, in their order; one that is too large by itself is a portion by itself.

    Args:
        things: The things.
        size_of: Returns how many bytes one of them takes.
        most: How many one request takes.
        most_bytes: How many bytes one request takes.
    """
    some: list[_Thing] = []
    size_bytes = 0
    for one in things:
        cost = size_of(one)
        if some and (len(some) == most or size_bytes + cost > most_bytes):
            yield some
            some, size_bytes = [], 0
        some.append(one)
        size_bytes += cost
    if some:
        yield some
