"""What `nox -s benchmarks` measures, and how long each part may take: fifteen minutes in all, on two cores."""

from __future__ import annotations

from dataclasses import dataclass

LIMIT_S = 15 * 60
"""How long all of it may take: a part that has not ended by then is ended, and its former figures stay."""


@dataclass(frozen=True)
class Part:
    """One benchmark, a folder beside this file.

    Attributes:
        rounds: How many rounds it has.
        least: How many show the spread: it does so many however long they take.
        limit_s: After how many seconds no further round begins.
    """

    rounds: int
    least: int
    limit_s: float


PLAN = {
    "session": Part(rounds=25, least=20, limit_s=60),
    "many": Part(rounds=5, least=3, limit_s=120),
    "output": Part(rounds=5, least=3, limit_s=75),
    "dispatch": Part(rounds=80, least=60, limit_s=150),
    "jobs": Part(rounds=7, least=5, limit_s=30),
    "jobs_table": Part(rounds=1, least=1, limit_s=60),
    "start": Part(rounds=60, least=40, limit_s=15),
    "cold_start": Part(rounds=20, least=10, limit_s=120),
    "packaging": Part(rounds=3, least=2, limit_s=270),
}
"""The parts, in the order in which they are measured: the one that needs the network is the last."""
