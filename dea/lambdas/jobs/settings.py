"""What a deployment sets about batch jobs, in environment variables: the table, the bus, and when a missing job is lost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

TABLE_VARIABLE = "DEA_JOBS_TABLE"
BUS_VARIABLE = "DEA_JOBS_BUS"
LOST_AFTER_VARIABLE = "DEA_JOBS_LOST_AFTER_S"

DEFAULT_TABLE = "dea-jobs"
DEFAULT_BUS = "default"
LOST_AFTER_S = 3600
"""For how long the scheduler must not know a job until it is `lost`: long enough for a server to be started again."""


class InvalidSetting(ValueError):
    """An environment variable holds what it cannot; the message names it."""


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What is set.

    Attributes:
        table: The DynamoDB table's name. One table is for one batch system: ids are unique in that only.
        bus: The EventBridge bus's name.
        lost_after_s: After how many seconds without any word of it a job is `lost`.
    """

    table: str = DEFAULT_TABLE
    bus: str = DEFAULT_BUS
    lost_after_s: int = LOST_AFTER_S

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> JobSettings:
        """Read the environment variables; one that is not there, or empty, is its default.

        Raises:
            InvalidSetting: If one cannot be understood.

        >>> JobSettings.of({"DEA_JOBS_TABLE": "jobs-prod"})
        JobSettings(table='jobs-prod', bus='default', lost_after_s=3600)
        """
        seconds = environment.get(LOST_AFTER_VARIABLE) or str(LOST_AFTER_S)
        if not (seconds.isascii() and seconds.isdigit() and len(seconds) < 10):
            raise InvalidSetting(f"{LOST_AFTER_VARIABLE} is {seconds!r:.80}: give a whole number of seconds, as 3600")
        return cls(
            environment.get(TABLE_VARIABLE) or DEFAULT_TABLE,
            environment.get(BUS_VARIABLE) or DEFAULT_BUS,
            int(seconds),
        )
