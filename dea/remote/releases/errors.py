"""The one error of an update: why the release does not serve."""

FAILED, BUSY = 1, 75
"""Exit statuses: it failed, and what served goes on serving; another update is going on, try again later (sysexits.h)."""


class ReleaseError(Exception):
    """An update that does not happen. What served before goes on serving.

    Attributes:
        status: `FAILED` or `BUSY`.
    """

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status
