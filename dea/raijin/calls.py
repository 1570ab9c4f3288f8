"""A call before it is sent: a command's request, and what names its run.

It does no input or output but reading the schema that travels in the package.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from dea.raijin.errors import RequestRefused
from dea.raijin.schemas import Schema, schema_of
from dea.remote.contract import Refusal, bind, check_size, is_run_id, join, shown, words_for, words_of

# What the longest options before a command's name take, beside the run id itself.
_OPTIONS_BYTES = len(f"--run-id  --from-stdout {2**63} --from-stderr {2**63} --detach ")


@dataclass(frozen=True, slots=True)
class Call:
    """One command to run, not sent yet.

    Attributes:
        request: The command's name and its arguments, quoted as for a shell.
        command: The same as it may be logged: without the values of secrets.
        key: What tells this call from others of the same event, for the run id; None for its place among them.
        run_id: The run's id; None to have one made.
        schema: The schema that the arguments were checked against, if they were.
    """

    request: str = field(repr=False)
    command: str
    key: str | None = None
    run_id: str | None = None
    schema: Schema | None = field(default=None, repr=False)

    @classmethod
    def of(cls, command: str, /, *values: object, **options: object) -> Call:
        """Build a command's arguments of Python values and check them against the schema in the function's package.

        Args:
            command: Its name.
            values: Its positional arguments, in order.
            options: Its options, with `_` where the option has `-`: text, number, boolean (a flag), path, or a list of them
                for one that can be repeated. None leaves one out.

        Raises:
            RequestRefused: If they break the schema, with all that is wrong; or if there is none.
        """
        schema = schema_of(command)
        try:
            words = words_for(schema.arguments, values, options)
            recorded = bind(schema.arguments, words).recorded
        except Refusal as refusal:
            raise RequestRefused(f"{command}: {refusal}") from None
        return cls(join([command, *words]), join([command, *recorded]), schema=schema)

    @classmethod
    def from_text(cls, request: str) -> Call:
        """Make a call of a request as a person types it; the login node checks it."""
        return cls(request, request)

    def named(self, *, key: str | None = None, run_id: str | None = None) -> Call:
        """Return the same call with a key or a run id of its own."""
        return dataclasses.replace(self, key=key or self.key, run_id=run_id or self.run_id)

    @property
    def is_question(self) -> bool:
        """Whether it runs nothing, because it begins with an option, as `--list` does."""
        return self.request.lstrip(" ").startswith("-")


def check_text(text: str, room_bytes: int = 0) -> None:
    """Refuse what cannot even arrive; whether it may run is the login node's to say.

    Args:
        text: The request.
        room_bytes: How many bytes are to be left for options.

    Raises:
        RequestRefused: If it is not text or too long.
    """
    try:
        check_size(len(text.encode("utf-8")) + room_bytes)
    except UnicodeEncodeError as error:
        raise RequestRefused(f"the command is not valid Unicode at character {error.start}") from error
    except Refusal as refusal:
        raise RequestRefused(str(refusal)) from None
    if "\0" in text:
        raise RequestRefused("the command holds a NUL character, which cannot be sent")


def check_run(request: str, run_id: str) -> None:
    """Refuse a request that no login node would take for a list of words; what the words mean is its business.

    Raises:
        RequestRefused: If it is too long, no text, or no list of words.
    """
    check_run_id(run_id)
    check_text(request, _OPTIONS_BYTES + len(run_id))
    try:
        words_of(request.encode())
    except Refusal as refusal:
        raise RequestRefused(str(refusal)) from None


def check_run_id(run_id: str) -> None:
    """Refuse a run id that is none.

    Raises:
        RequestRefused: If it is none.
    """
    if not is_run_id(run_id):
        raise RequestRefused(f"{shown(run_id)} is no run id: a run id is 8 to 128 letters, digits, - and _")
