"""What both ends agree on: the request's grammar, names and exit statuses. Pure: no input, no output, no state.

The client imports it to fail early and clearly; the login node imports it as the authority. It does nothing with files,
processes or the network, and imports nothing: each import would be paid at every dispatch.
"""

from dea.remote.contract.request import MAX_REQUEST_BYTES, Refusal, Request, check_size, is_name, parse_request, shown
from dea.remote.contract.status import BUSY, FAILED, NOT_FOUND, REFUSED, TIMED_OUT, USAGE
from dea.remote.contract.words import join, split

__all__ = [
    "BUSY",
    "FAILED",
    "MAX_REQUEST_BYTES",
    "NOT_FOUND",
    "REFUSED",
    "TIMED_OUT",
    "USAGE",
    "Refusal",
    "Request",
    "check_size",
    "is_name",
    "join",
    "parse_request",
    "shown",
    "split",
]
