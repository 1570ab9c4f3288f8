"""One request and its answer: what is recorded of it in the audit log, and what its client is told on stderr.

What is decided, run or stored is none of its business.
"""

import os
import time

from dea.remote import __version__
from dea.remote.audit import Audit, timestamp
from dea.remote.contract.receipt import BUSY as OUTCOME_BUSY
from dea.remote.contract.receipt import REFUSED as OUTCOME_REFUSED
from dea.remote.contract.receipt import Receipt
from dea.remote.contract.request import RESULT, Refusal, Request, shown
from dea.remote.contract.status import BUSY, FAILED, NOT_FOUND, REFUSED
from dea.remote.decision import Key, Site, recordable

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from typing import Any


class Exchange:
    """One request from its arrival to its end.

    Attributes:
        site: Where the dispatcher is.
        key: What the request's key may do.
        raw: The request's text as it arrived.
        request: The same, once it could be read.
        received: When it arrived (UTC, ISO 8601).
        client: The client's address, or None by hand, where nothing is recorded.
    """

    def __init__(self, site: Site, key: Key, client: "str | None", raw: bytes = b"") -> None:
        self.site = site
        self.key = key
        self.raw = raw
        self.client = client
        self.request: "Request | None" = None
        self.received = timestamp(time.time())
        self._begin = time.monotonic()
        self._audit = None if client is None else Audit(site.state, key.label or "", client, site.node)
        self._arrived = False

    @property
    def is_by_hand(self) -> bool:
        """Whether no key is behind the request, and nothing is recorded."""
        return self._audit is None

    @property
    def head(self) -> "str | None":
        """The audit chain's head after this request's last line, None by hand."""
        return self._audit.head if self._audit is not None else None

    def record(self, *events: "tuple[str, dict[str, object]]") -> None:
        """Record what happens, and, with the first of it, that the request arrived.

        Raises:
            Refusal: If it cannot be recorded.
        """
        if self._audit is None:
            return
        try:
            if events or not self._arrived:
                self._audit.record(*(() if self._arrived else (self._arrival(),)), *events)
        except OSError as error:
            reason = error.strerror or str(error)
            raise Refusal(
                REFUSED,
                f"the audit log cannot be written ({reason}): what cannot be recorded does not run; tell the operator",
            ) from error
        self._arrived = True

    def refuse(self, refusal: Refusal, *, replayed: bool = False, **about: object) -> int:
        """Record a refusal, say it and its receipt, and return its status.

        Args:
            refusal: Why nothing runs.
            replayed: Whether there is a run of that id, for another request.
            about: More for the record.
        """
        facts: "dict[str, object]" = {
            "run_id": self.run_id(refusal),
            **about,
            "status": refusal.status,
            "problems": list(refusal.problems),
            "duration_s": self.duration_s(),
        }
        try:
            self.record(("refused", facts))
        except Refusal as unrecorded:
            problems = dict.fromkeys((*refusal.problems, *unrecorded.problems))  # once, if that is why it is refused
            # That there is no such run is a fact that a client decides by, recorded or not.
            is_unknown = self.request is not None and self.request.verb == RESULT and refusal.status == NOT_FOUND
            refusal = Refusal(NOT_FOUND if is_unknown else unrecorded.status, *problems, run_id=refusal.run_id)
        status = complain(refusal)
        self.hand_out_receipt(
            self.run_id(refusal),
            OUTCOME_BUSY if status == BUSY else OUTCOME_REFUSED,
            status,
            retry_after_s=refusal.retry_after_s,
            replayed=replayed,
        )
        return status

    def run_id(self, refusal: "Refusal | None" = None) -> "str | None":
        """Return the run id of the request, as far as it is known."""
        if self.request is not None:
            return self.request.run_id
        return refusal.run_id if refusal is not None else None

    def duration_s(self) -> float:
        """Return for how many seconds the request has been here."""
        return round(time.monotonic() - self._begin, 4)

    def hand_out_receipt(self, run_id: "str | None", outcome: str, status: "int | None", **facts: "Any") -> None:
        """Say the receipt, the last thing on stderr, if the request has a run id.

        Args:
            run_id: The run id, or None.
            outcome: As in the receipt.
            status: The run's exit status, or None while it has none.
            facts: The receipt's other fields.
        """
        if run_id is not None:
            receipt = Receipt(
                run_id,
                outcome,
                status,
                **{"received": self.received, "version": __version__, "audit": self.head, **facts},
            )
            write(2, receipt.encode())

    def _arrival(self) -> "tuple[str, dict[str, object]]":
        text = recordable(self.site, self.raw, None if self.key.only is not None else self.request)
        return "received", {"run_id": self.run_id(), "request": text, "size_bytes": len(self.raw)}


def failure(error: BaseException) -> Refusal:
    """Return what to say when the dispatcher itself failed."""
    return Refusal(FAILED, f"the dispatcher itself failed: {type(error).__name__}: {shown(str(error), 300)}")


def not_startable(name: str, reason: str) -> Refusal:
    """Return what to say when a command's program cannot be started."""
    return Refusal(
        REFUSED,
        f"{name} cannot be started ({reason}): check the first line of its `run` and the interpreter there",
    )


def complain(refusal: Refusal) -> int:
    """Say on stderr what is wrong; nothing ever goes to stdout, where it could pass for a command's output."""
    say(*refusal.problems)
    return refusal.status


def say(*sentences: str) -> None:
    """Say something to the client, on stderr."""
    for sentence in sentences:
        write(2, spoken(sentence))


def spoken(sentence: str) -> bytes:
    r"""Return a sentence as the dispatcher says it.

    >>> spoken("busy")
    b'dea-remote: busy\n'
    """
    return f"dea-remote: {sentence}\n".encode("utf-8", "backslashreplace")


def write(descriptor: int, data: bytes) -> None:
    """Write to stdout or stderr; if nobody reads there any more, that must not keep the rest from being done."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            # The command shares it, and has made it non-blocking, as ssh(1) does; what is to be said must not be lost.
            os.set_blocking(descriptor, True)
        except OSError:
            return
