"""Keeps the credentials in memory for a while, so that not every connection asks SSM; and knows when to ask again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from dea.raijin.credentials import Credentials, load_credentials, user_path_from

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

CREDENTIALS_LIFETIME_S = 300.0
"""After how long the SSM parameters are read again. A refused login asks at once, whatever their age."""

_AWS_IDENTITY = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_SSM",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
)


class CredentialsCache:
    """Keeps credentials in memory for a while, so that not every connection asks SSM; thread-safe.

    Args:
        load: Reads them.
        lifetime_s: After how many seconds they are read again.
        clock: Tells the time of day: a monotonic clock stands still while Lambda has frozen the process.
    """

    def __init__(
        self,
        load: Callable[[], Credentials],
        *,
        lifetime_s: float = CREDENTIALS_LIFETIME_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._load = load
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[Credentials, float] | None = None

    def get(self) -> tuple[Credentials, bool]:
        """Return the credentials, and whether they have just been read.

        Raises:
            CredentialsError: As `load_credentials`.
        """
        with self._lock:
            if self._kept is not None and 0 <= self._clock() - self._kept[1] < self._lifetime_s:
                return self._kept[0], False
            return self._read(), True

    def renewed(self, refused: Credentials) -> Credentials:
        """Return credentials that are newer than those which the login node refused; read once however many ask.

        Raises:
            CredentialsError: As `load_credentials`.
        """
        with self._lock:
            if self._kept is not None and self._kept[0] != refused:
                return self._kept[0]
            return self._read()

    def _read(self) -> Credentials:
        credentials = self._load()
        self._kept = (credentials, self._clock())
        return credentials


def cached_credentials(user_path: str | None = None, *, ssm: SSMClient | None = None) -> CredentialsCache:
    """Return the cache for a prefix: one for the whole process, unless it is to be read with a client of its own.

    Args:
        user_path: As for `load_credentials`.
        ssm: As for `load_credentials`.
    """
    if ssm is not None:
        return CredentialsCache(lambda: load_credentials(user_path, ssm=ssm))
    prefix = user_path or user_path_from(os.environ)
    # Another account, region or endpoint is another store.
    whose = (prefix, *(os.environ.get(name) for name in _AWS_IDENTITY))
    with _caches_lock:
        return _caches.setdefault(whose, CredentialsCache(lambda: load_credentials(prefix)))


_caches: dict[tuple[str | None, ...], CredentialsCache] = {}
_caches_lock = threading.Lock()
