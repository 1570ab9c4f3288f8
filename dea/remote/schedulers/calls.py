"""How a scheduler's programs are called: without a shell, in UTC and no language, and never for ever.

What is asked of a scheduler is a conversation: a generator that yields one `Call` after another, is sent what came back,
and returns what it all means. So all that knows a scheduler is pure, and what was captured from a real one tests it.
"""

import os
import subprocess
import time
from dataclasses import dataclass

from dea.remote.schedulers.errors import Refused

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import TypeVar

    T = TypeVar("T")
    Perform = Callable[["Call"], "Answer"]

CALL_TIMEOUT_S = 120.0
"""How long one of a scheduler's programs may take, unless the conversation says otherwise."""

MAX_ARGV_BYTES = 96 * 1024
"""How long one argv may be: Linux takes 2 MiB with the environment, but a stack limit of a site's can make it 128 KiB."""

_GRACE_S = 5.0
# What gives a scheduler's programs defaults of the account's own: an approval says nothing of these.
_DEFAULTS_OF_OTHERS = ("SBATCH_", "SLURM_", "SQUEUE_", "SACCT_", "SCANCEL_", "PBS_O_", "PBS_DPREFIX")
_KEPT = ("SLURM_CONF",)


@dataclass(frozen=True)
class Call:
    """One program to call.

    Attributes:
        argv: The program's name and its arguments.
        stdin: What it is given to read.
        folder: The folder that it runs in, or None for the current one.
    """

    argv: "tuple[str, ...]"
    stdin: bytes = b""
    folder: "str | None" = None


@dataclass(frozen=True)
class Answer:
    """What came of a call.

    Attributes:
        status: The exit status; -n for a program that signal n ended; None for one that outlived its time.
        stdout: What it wrote, undecodable bytes replaced.
        stderr: The same.
    """

    status: "int | None"
    stdout: str = ""
    stderr: str = ""

    @property
    def cut_off(self) -> bool:
        """Whether the program did not end by itself."""
        return self.status is None or self.status < 0

    @property
    def said(self) -> str:
        """What it said of its failure, on one line."""
        if self.status is None:
            return "it took too long and was ended"
        text = " ".join((self.stderr.strip() or self.stdout.strip()).split())
        how = f"status {self.status}" if self.status >= 0 else f"it was ended by signal {-self.status}"
        return how + (f": {text[:400]}" if text else "")


def hold(conversation: "Generator[Call, Answer, T]", perform: "Perform") -> "T":
    """Hold a conversation with a scheduler; return what it comes to.

    Raises:
        SchedulerError: As the conversation says.
    """
    try:
        call = next(conversation)
        while True:
            call = conversation.send(perform(call))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # StopIteration does not say of what


def perform(
    call: Call,
    *,
    timeout_s: float = CALL_TIMEOUT_S,
    beat: "Callable[[], None] | None" = None,
    beat_s: float = 1.0,
) -> Answer:
    """Call one program, and wait for its end.

    Args:
        call: What to call.
        timeout_s: After how long it is ended.
        beat: Called every `beat_s` seconds while it runs.
        beat_s: How often that is.

    Raises:
        Refused: If there is no such program.
    """
    environment = {
        name: value for name, value in os.environ.items() if name in _KEPT or not name.startswith(_DEFAULTS_OF_OTHERS)
    }
    # qstat prints times in the client's zone, and errors in its language.
    environment.update(TZ="UTC", LC_ALL="C")
    try:
        # Not in a group of its own: whoever ends this command ends its programs.
        process = subprocess.Popen(
            call.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=call.folder,
        )
    except OSError as error:
        raise Refused(
            f"{call.argv[0]} cannot be started ({error.strerror}): put its folder on the path in site.yaml"
        ) from error
    deadline = time.monotonic() + timeout_s
    given: "bytes | None" = call.stdin
    with process:
        while True:
            try:
                out, err = process.communicate(given, max(0.0, min(beat_s, deadline - time.monotonic())))
                break
            except subprocess.TimeoutExpired:
                given = None  # it goes on where it was
                if beat is not None:
                    beat()
                if time.monotonic() >= deadline:
                    return _ended(process)
    return Answer(process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def _ended(process: "subprocess.Popen[bytes]") -> Answer:
    """End a program that took too long; it is asked first, because qsub takes back what it can."""
    process.terminate()
    try:
        out, err = process.communicate(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    return Answer(None, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def chunks(ids: "list[str]", max_bytes: int = MAX_ARGV_BYTES) -> "list[list[str]]":
    """Cut a list of ids so that each part fits into one argv, whatever their length.

    >>> chunks(["1.server", "2.server", "3.server"], max_bytes=20)
    [['1.server', '2.server'], ['3.server']]
    >>> chunks([])
    []
    """
    parts: "list[list[str]]" = []
    room = 0
    for one in ids:
        size = len(one) + 1
        if not parts or size > room:
            parts.append([])
            room = max_bytes
        parts[-1].append(one)
        room -= size
    return parts
