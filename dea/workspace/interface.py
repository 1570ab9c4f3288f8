"""What every Invoke task shares: one clear line for a user's mistake, progress and questions on a terminal, JSON for programs.

It holds nothing of what a task does.
"""

from __future__ import annotations

import functools
import inspect
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.tasks import Task
from invoke.tasks import task as invoke_task

from dea.remote.checks import Check, lines
from dea.workspace.errors import WorkspaceError

if TYPE_CHECKING:
    from rich.console import Console

STATUS_FAILED = 1
STATUS_NOT_TRIED = 2
"""What a task ends with when no check failed and one could not be tried: that is no pass."""

_STATUS_INTERRUPTED = 128 + signal.SIGINT
_STATUS_NOBODY_READS = 128 + signal.SIGPIPE  # as of a program that the signal ended

_ASKS_FOR_HELP = ("--help", "-h")

_groups: dict[Task[Any], str] = {}

_T = TypeVar("_T")


class _Console:
    """Stands for the console until it is used: importing rich takes as long as all that a task without it does."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_made_console(), name)


@functools.cache
def _made_console() -> Console:
    from rich.console import Console  # noqa: PLC0415

    return Console(stderr=True, highlight=False)


console: Console = _Console()  # type: ignore[assignment]  # it answers as the real one does
"""Where progress and remarks go; stdout is kept for what a program would read."""


def task(*, group: str = "", **options: Any) -> Callable[[Callable[..., int | None]], Task[Any]]:
    """Make an Invoke task of a function, so that a `WorkspaceError` ends it with one line on stderr and status 1.

    A TERM signal ends it as Ctrl-C does: what it has started and made goes with it.

    Arguments go by their names, `--name X`, unless `positional` names them: to Invoke one without a default is positional too,
    and would be `--help` in `inv TASK --help`.

    Args:
        group: The group that it belongs to: a function `GROUP_NAME` is called as `inv GROUP.NAME`.
        **options: As for Invoke's own `task`.

    The function may return an exit status; None is 0.
    """

    def decorate(body: Callable[..., int | None]) -> Task[Any]:
        name = body.__name__.removeprefix(f"{group}_").replace("_", "-")
        called = f"{group}.{name}" if group else name
        signature = inspect.signature(body)
        required = [name for name, one in signature.parameters.items() if one.default is one.empty]

        @functools.wraps(body)
        def guarded(*args: Any, **kwargs: Any) -> None:
            given = signature.bind_partial(*args, **kwargs).arguments
            if missing := [name for name in required if given.get(name) in (None, *_ASKS_FOR_HELP)]:
                options_missing = " and ".join(f"--{name.replace('_', '-')}" for name in missing)
                raise Exit(
                    f"inv {called}: {options_missing} {'is' if len(missing) == 1 else 'are'} missing; inv --help {called} says what "
                    "it takes",
                    code=STATUS_FAILED,
                )
            signal.signal(signal.SIGTERM, _interrupt)
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(errors="backslashreplace")  # what the terminal's encoding has not is no error
            try:
                status = body(*args, **kwargs)
                sys.stdout.flush()
            except WorkspaceError as error:
                raise Exit(f"inv {called}: {error}", code=STATUS_FAILED) from None
            except KeyboardInterrupt:
                raise Exit("interrupted", code=_STATUS_INTERRUPTED) from None
            except BrokenPipeError:
                # What is still to be written goes nowhere, or Python would try it once more at its end, and say so.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise Exit(code=_STATUS_NOBODY_READS) from None
            if status:
                raise Exit(code=status)

        made: Task[Any] = invoke_task(**{"positional": [], "name": name, **options})(guarded)
        _groups[made] = group
        return made

    return decorate


def menu(module: Mapping[str, Any]) -> Collection:
    """Return what `inv --list` shows of a module: its tasks, those of a group below the group's name."""
    found = Collection()
    groups: dict[str, Collection] = {}
    for one in module.values():
        if isinstance(one, Task):
            group = _groups[one]
            (groups.setdefault(group, Collection(group)) if group else found).add_task(one)
    for collection in groups.values():
        found.add_collection(collection)
    return found


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def number(option: str, text: str, largest: float, *, whole: bool = False) -> float:
    """Return the number that an option was given as text: Invoke's own conversion would end in a traceback.

    Args:
        option: The option, for the error.
        text: What it was given.
        largest: What it can be at most.
        whole: Whether it is a whole number, from 0 on; else it is above 0.

    Raises:
        WorkspaceError: If it is none, or out of that range.

    >>> number("--timeout", "2.5", 900)
    2.5
    """
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = -1
    if not (0 <= value <= largest if whole else 0 < value <= largest):
        kind = "a whole number from 0 to" if whole else "a number above 0, up to"
        raise WorkspaceError(f"{option} {text!r:.80} is not {kind} {largest:g}")
    return value


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show that something is going on while it does: a spinner on a terminal, one line elsewhere."""
    if console.is_terminal:
        with console.status(what):
            yield
    else:
        console.print(f"{what} ...", markup=False)
        yield


@contextmanager
def starting(what: str, manager: AbstractContextManager[_T]) -> Iterator[_T]:
    """Enter a context manager that takes its time to start, with progress shown until it has."""
    with ExitStack() as stack:
        with progress(what):
            value = stack.enter_context(manager)
        yield value


def can_ask() -> bool:
    """Tell whether somebody at a terminal could answer a question."""
    return sys.stdin is not None and sys.stdin.isatty() and console.is_terminal


def is_agreed(question: str) -> bool:
    """Ask at the terminal whether it is right; whatever is not `y` or `yes`, the end of input too, is a no."""
    try:
        answer = console.input(f"{question} [y/N] ", markup=False)
    except EOFError:
        console.print()
        return False
    return answer.strip().lower() in ("y", "yes")


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout: in UTF-8 (RFC 8259), whatever the terminal's encoding is."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    sys.stdout.flush()
    # Half a surrogate pair, as in a file's name that is no text, becomes the escape that JSON itself has for it.
    sys.stdout.buffer.write(f"{text}\n".encode("utf-8", "backslashreplace"))
    sys.stdout.buffer.flush()


def tell(checks: list[Check], *, as_json: bool) -> int:
    """Print checks on stdout, a line for each, or all as a JSON list of `{"check", "ok", "detail", "remedy"}`.

    Returns:
        The exit status: 0 if all passed, 1 if one failed, 2 if none failed and one could not be tried (`ok` is null).
    """
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        sys.stdout.writelines(f"{line}\n" for line in lines(checks))
    if any(check.ok is False for check in checks):
        return STATUS_FAILED
    return STATUS_NOT_TRIED if any(check.ok is None for check in checks) else 0
