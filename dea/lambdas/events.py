"""What an event asks for: a few named fields, in the event itself or in the `detail` of one that came by EventBridge.

It reads and checks; which delivery the event is, `dea.lambdas.identity` tells.
"""

from __future__ import annotations

from typing import Any

from dea.lambdas.identity import DELIVERY
from dea.raijin import Call
from dea.remote.contract import shown


class InvalidEvent(ValueError):
    """An event does not ask for what the function does; the message says what is wrong and what belongs there."""


def fields_of(event: Any, *names: str) -> dict[str, Any]:
    """Return the fields of what an event asks for.

    Args:
        event: The event: the fields themselves, or one of EventBridge that has them in its `detail`.
        names: What the fields can be. Which are missing is not looked at.

    Raises:
        InvalidEvent: If it is no object, or has fields that there are not. Nothing that was meant is passed over.

    >>> fields_of({"source": "me", "detail-type": "Cancel", "id": "1", "detail": {"job_id": "12.pbs"}}, "job_id")
    {'job_id': '12.pbs'}
    """
    beside = {DELIVERY}
    if isinstance(event, dict) and "detail-type" in event and "detail" in event:
        event, beside = event["detail"], set()
    if not isinstance(event, dict):
        raise InvalidEvent(f"the event is no object with {_list(names)}: {event!r:.80}")
    fields = {name: value for name, value in event.items() if name not in beside}
    if unknown := ", ".join(shown(name) for name in sorted(map(str, fields.keys() - set(names)))):
        raise InvalidEvent(f"the event has unknown fields: {unknown[:200]}; there are {_list(names)}")
    return fields


def call_of(event: Any, default: str | None = None) -> Call:
    """Return the call that an event asks for: `{"command": NAME, "arguments": {NAME: VALUE, ...}}`.

    Args:
        event: The event, as for `fields_of`.
        default: The command where the event names none.

    Raises:
        InvalidEvent: If it asks for none.
        RequestRefused: If the function's `function.yaml` does not name the command, or the arguments break its schema.
    """
    fields = fields_of(event, "command", "arguments")
    command, arguments = fields.get("command", default), fields.get("arguments", {})
    if not isinstance(command, str) or not command:
        raise InvalidEvent(f"the event's command is {command!r:.80}: give the name of one that function.yaml names")
    if not isinstance(arguments, dict):
        raise InvalidEvent(
            f"the event's arguments are {arguments!r:.80}: give an object from each one's name to its value"
        )
    return Call.of(command, **arguments)


def _list(names: tuple[str, ...]) -> str:
    return " and ".join(names)
