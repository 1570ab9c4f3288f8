"""What both ends agree on: the request's grammar, the argument schema, exit statuses, the receipt. Pure: no I/O, no state.

The client imports it to fail early and clearly; the login node imports it as the authority. It does nothing with files,
processes or the network, and imports next to nothing: each import would be paid at every dispatch. What a plain dispatch
does not need, `dea.remote.contract.describe`, is imported by its own name.
"""

from dea.remote.contract.receipt import Receipt, take_receipt
from dea.remote.contract.request import (
    MAX_REQUEST_BYTES,
    Refusal,
    Request,
    check_size,
    is_name,
    is_run_id,
    parse_request,
    shown,
    words_of,
)
from dea.remote.contract.schema import bind, words_for
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
    "Receipt",
    "Refusal",
    "Request",
    "bind",
    "check_size",
    "is_name",
    "is_run_id",
    "join",
    "parse_request",
    "shown",
    "split",
    "take_receipt",
    "words_for",
    "words_of",
]
