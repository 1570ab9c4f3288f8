"""Gives each call within one delivery its run id, so that a retry of the delivery finds the runs of the first try.

What a delivery is known by is `dea.lambdas.identity`'s to say.
"""

from __future__ import annotations

import logging
import secrets
import threading
from typing import Any

from dea.lambdas.identity import Identity, identity_of, identity_of_record, run_id_of

_logger = logging.getLogger(__name__)
_said: set[str] = set()


class DeliveryRunIds:
    """The run ids of one delivery's calls; `RaijinSession(run_ids=...)` asks it once for each call that starts a run.

    A call is known by its key, or else by its ordinal: how many calls without a key came before it in the same delivery and
    from the same command class. So a retry finds its runs again if it makes the same calls in the same order. Where it may
    leave one out (because the first try has done something else in between), or where they come from several threads, the
    ordinals shift: give those calls a `key=`. Two calls with one key are one run.

    Args:
        command_name: The command class's `COMMAND_NAME`.
        context: Lambda's context object, which knows the function's ARN; None without.
        identity: What the delivery is known by; None if nothing is known. Then, or without an ARN, the ids are random: safe
            against a connection that breaks, not against a retry of the delivery.

    Attributes:
        repeatable: Whether a retry gets the same ids: they are not random.

    Note:
        The first id of a delivery that is known by Lambda's request id only, or by nothing, says so as a warning, once in
        the life of this process.
    """

    def __init__(self, command_name: str, context: Any, identity: Identity | None) -> None:
        arn = getattr(context, "invoked_function_arn", None)
        if not isinstance(arn, str) or not arn or identity is None:
            arn, identity = "", Identity("random", (secrets.token_hex(16),))
        self._arn = arn
        self._command_name = command_name
        self._identity = identity
        self.repeatable = identity.kind != "random"
        self._next = 0
        self._lock = threading.Lock()

    @classmethod
    def of_event(cls, command_name: str, event: Any, context: Any) -> DeliveryRunIds:
        """Return those of an event's calls.

        Raises:
            InvalidDelivery: If the event says wrongly which delivery it is.
        """
        return cls(command_name, context, identity_of(event, context))

    @classmethod
    def of_record(cls, command_name: str, record: Any, context: Any) -> DeliveryRunIds:
        """Return those of one record's calls."""
        return cls(command_name, context, identity_of_record(record))

    def __call__(self, key: str | None = None) -> str:
        """Return the next call's run id.

        Args:
            key: What the caller names the call by; None for its ordinal.
        """
        _say_once(self._identity.kind)
        call: str | int
        if key is not None:
            call = key
        else:
            with self._lock:
                call, self._next = self._next, self._next + 1
        return run_id_of(self._arn, self._identity, self._command_name, call)


_WARNINGS = {
    "random": "no event and context, or nothing that this delivery is known by: run ids are random, and a retry by Lambda runs "
    "the commands again; use handler = MyCommand.handler",
    "request": "the event does not say which delivery it is: run ids come from Lambda's request id, which is the same when "
    "Lambda itself retries, and another when a caller, Step Functions or a queue does; put dea_delivery into the event",
    "records": "several records in one event are one delivery here: if they come again in another batch, their commands run "
    "again; inherit from BatchCommand",
}


def _say_once(kind: str) -> None:
    if kind in _WARNINGS and kind not in _said:
        _said.add(kind)
        _logger.warning(_WARNINGS[kind], extra={"known_by": kind})
