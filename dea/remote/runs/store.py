"""Where runs are kept: one folder for each, whose files are its state. Nothing is run, recorded or printed here.

    <state>/runs/key-LABEL/RUN_ID/claim        what was asked for, by whom; there as soon as the folder is
                                  stdout       what is kept of the command's output
                                  stderr
                                  pulse        its time of modification is the heartbeat
                                  cancel       `1`: somebody wants it to end
                                  started      who runs it; the first link(2) wins
                                  outcome      how it ended; the first link(2) wins
                                  attempt-N    the run id of the Nth attempt, as a symbolic link's text
                                  .look-*      left by a process that was killed in `fresh`: it means nothing

A claim is a folder that was prepared under another name and renamed; onto a folder that is not empty, rename(2) fails. NFS
can repeat a call whose answer was lost and report the repetition's failure, so after an error the token is read back. A
name that was looked for and not found may be remembered by an NFS client for half a minute; a file that exists is asked
for anew by opening it. So what others wait for is a file from the beginning, and `fresh` forgets what was remembered.
"""

import os
from errno import EEXIST

from dea.remote.audit import make_private_folder
from dea.remote.digest import sha256
from dea.remote.disk import force_to_disk
from dea.remote.plain_json import decode, encode

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from typing import Any

    from dea.remote.decision import Plan

FORMAT = 1
"""The version of the format of the files; a folder with any other is no run."""

OUTCOME_BYTES, START_BYTES = 4096, 1024
"""The room that is taken for a start and an outcome when the run is claimed: a full disk cannot keep them from being recorded."""

CLAIM, STDOUT, STDERR, PULSE, CANCEL, STARTED, OUTCOME = (
    "claim", "stdout", "stderr", "pulse", "cancel", "started", "outcome",
)  # fmt: skip

BY_HAND = "by-hand"
"""The folder of runs that no key asked for."""

_MAX_BYTES = 2 * 1024 * 1024
_LOOK = ".look-"
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


class Run:
    """One run that has been claimed.

    Attributes:
        folder: Its folder.
        claim: What was claimed: `run_id`, `token`, `key`, `command`, `arguments` (secrets hidden), `secret` (whether there
            are any), `received`, `attempt`, `attempt_of`, and the hashes by which a request is known again.
    """

    __slots__ = ("claim", "folder")

    def __init__(self, folder: str, claim: "dict[str, Any]") -> None:
        self.folder = folder
        self.claim = claim

    @property
    def run_id(self) -> str:
        """The run's id."""
        return str(self.claim["run_id"])

    def path(self, name: str) -> str:
        """Return the path of one of the run's files."""
        return os.path.join(self.folder, name)

    def started(self) -> "dict[str, Any] | None":
        """Return what is known of the start: `token`, `node`, `started`, `lost_after_s`; None if nobody has."""
        return read_document(self.path(STARTED))

    def outcome(self) -> "dict[str, Any] | None":
        """Return the outcome, or None: the receipt's fields, as far as they are the run's own."""
        outcome = read_document(self.path(OUTCOME))
        if outcome is None:
            # Who cancels a claim that never started decides that it never will: start and outcome in one link.
            outcome = (self.started() or {}).get("outcome")
        return outcome

    def stored_bytes(self, name: str) -> int:
        """Return how much of stdout or stderr is kept."""
        try:
            return os.stat(self.path(name)).st_size
        except FileNotFoundError:
            return 0  # pruned

    def beat(self) -> None:
        """Say that whoever has the run in hand lives."""
        try:
            os.utime(self.path(PULSE))
        except OSError:
            pass  # who cannot say so any more is taken for lost, and the outcome says otherwise later

    def silent_s(self, now: float) -> float:
        """Return for how long there was no heartbeat.

        Args:
            now: The time by the file system's own clock.
        """
        try:
            return now - _time_of(self.path(PULSE))
        except FileNotFoundError:
            return float("inf")

    def ask_to_end(self) -> None:
        """Leave word that the run is to be ended.

        Raises:
            OSError: If it cannot be written.
        """
        descriptor = os.open(self.path(CANCEL), os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.pwrite(descriptor, b"1", 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def is_asked_to_end(self) -> bool:
        """Tell whether somebody wants the run to end."""
        try:
            descriptor = os.open(self.path(CANCEL), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            return os.read(descriptor, 1) == b"1"
        finally:
            os.close(descriptor)

    def start(self, document: "dict[str, object]") -> bool:
        """Decide that this process, and no other ever, starts the run.

        Args:
            document: What is to be known of the start, with a `token` of its own.

        Returns:
            Whether it was decided so; otherwise another process was first.

        Raises:
            OSError: If nothing could be decided.
        """
        return self._link_first(STARTED, f"start-{document['token']}", encode(document))

    def reserve(self, token: str) -> None:
        """Take the room for a start and an outcome.

        Raises:
            OSError: If there is none.
        """
        write_new(self.path(f"start-{token}"), b" " * START_BYTES)
        write_new(self.path(f"outcome-{token}"), b" " * OUTCOME_BYTES)

    def prepare_start(self, document: "dict[str, object]") -> None:
        """Write what `start` links into place, into the room that was taken for it.

        Raises:
            OSError: If it cannot be written.
        """
        self._overwrite(f"start-{document['token']}", encode(document).ljust(START_BYTES))

    def prepare_outcome(self, token: str, document: "dict[str, object]") -> None:
        """Write what `end` links into place, into the room that was taken for it.

        Raises:
            OSError: If it cannot be written.
        """
        self._overwrite(f"outcome-{token}", encode(document).ljust(OUTCOME_BYTES))

    def _overwrite(self, name: str, content: bytes) -> None:
        descriptor = os.open(self.path(name), os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if os.fstat(descriptor).st_nlink != 1:  # it is the start or the outcome by now, and that counts once
                raise FileExistsError(EEXIST, "it is decided already", self.path(name))
            os.pwrite(descriptor, content, 0)
        finally:
            os.close(descriptor)

    def end(self, token: str, document: "dict[str, object]") -> bool:
        """Make a prepared outcome the run's own, if it has none.

        Raises:
            OSError: If it cannot be.
        """
        return self._link_first(OUTCOME, f"outcome-{token}", encode(document))

    def force_to_disk(self, *names: str) -> None:
        """Wait until some of the run's files, and their names, would survive a loss of power.

        Raises:
            OSError: If they would not.
        """
        for path in (*(self.path(name) for name in names), self.folder, os.path.dirname(self.folder)):
            force_to_disk(path)

    def _link_first(self, name: str, prepared: str, content: bytes) -> bool:
        try:
            os.link(self.path(prepared), self.path(name))
        except OSError:
            # FileExistsError: another was first, or NFS repeated the call after it had worked.
            found = read_document(self.path(name))
            if found is None:
                raise
            return found == decode(content)
        return True


class Store:
    """The runs of one key, or those by hand.

    Args:
        state: The state folder.
        name: The name of the runs' folder there, as `folder_of` gives it.
    """

    def __init__(self, state: str, name: str) -> None:
        self._state = state
        self.folder = os.path.join(state, "runs", name)

    def find(self, run_id: str) -> "Run | None":
        """Return a run, or None if it was never claimed."""
        return load(os.path.join(self.folder, run_id))

    def runs(self) -> "list[Run]":
        """Return all runs, in no order."""
        try:
            entries = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        found = [load(os.path.join(self.folder, entry)) for entry in entries if not entry.startswith(".")]
        return [run for run in found if run is not None]

    def find_surely(self, run_id: str) -> "Run | None":
        """Return a run as `find` does, even if another login node has claimed it within the last half minute."""
        run = self.find(run_id)
        if run is None and os.path.isdir(self.folder):
            fresh(self.folder)
            run = self.find(run_id)
        return run

    def prepare(self, claim: "dict[str, object]") -> Run:
        """Write a claim and all that its run needs room for, under a temporary name.

        Raises:
            OSError: If it cannot be written; then nothing of it stays.
        """
        folder = os.path.join(self.folder, f".new-{claim['token']}")
        try:
            os.mkdir(folder, 0o700)
        except FileNotFoundError:
            make_private_folder(self.folder)
            for above in (os.path.dirname(self.folder), self._state):
                force_to_disk(above)
            os.mkdir(folder, 0o700)
        run = Run(folder, claim)
        try:
            write_new(run.path(CLAIM), encode(claim))
            for name in (STDOUT, STDERR, PULSE):
                write_new(run.path(name), b"")
            write_new(run.path(CANCEL), b"0")  # written over later: also on a disk that the run itself has filled
            run.reserve(str(claim["token"]))
        except OSError:
            discard(folder)
            raise
        return run

    def claim(self, prepared: Run) -> Run:
        """Give a prepared claim its name, if it is free.

        Returns:
            The run of that name: the prepared one, or the one that was there first (its token tells).

        Raises:
            OSError: If neither is there.
        """
        folder = os.path.join(self.folder, prepared.run_id)
        try:
            os.rename(prepared.folder, folder)
        except OSError:
            found = self.find_surely(prepared.run_id)
            if found is None:
                raise  # and what was prepared stays: it may get its name yet, and is removed after a day if not
            if found.claim["token"] != prepared.claim["token"]:
                discard(prepared.folder)
            return found
        return Run(folder, prepared.claim)

    def number_of_attempt(self, first: Run, run_id: str) -> int:
        """Return which attempt a further run of a first one is; it is the same whenever it is asked for.

        Raises:
            OSError: If it cannot be written down.
        """
        number = int(first.claim["attempt"]) + 1
        while True:
            path = first.path(f"attempt-{number}")
            try:
                os.symlink(run_id, path)
            except FileExistsError:
                if os.readlink(path) != run_id:
                    number += 1
                    continue
            return number

    def attempts(self, run: Run) -> int:
        """Return how many attempts there are of what a run was asked for."""
        first = os.path.join(self.folder, str(run.claim["attempt_of"] or run.run_id))
        number = int(run.claim["attempt"])
        while os.path.lexists(os.path.join(first, f"attempt-{number + 1}")):
            number += 1
        return number

    def now(self) -> float:
        """Return the time by the file system's own clock; see `now`."""
        return now(self._state)


def now(state: str) -> float:
    """Return the time by the file system's own clock: no two login nodes' clocks need agree.

    Raises:
        OSError: If it cannot be written to.
    """
    path = os.path.join(state, "runs", "clock")
    try:
        os.utime(path)
    except FileNotFoundError:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        os.utime(path)
    return _time_of(path)


def folder_of(label: "str | None") -> str:
    """Return the name of the folder of a key's runs: no two keys have the same.

    >>> folder_of("lambda"), folder_of(None), folder_of("../x")[:12]
    ('key-lambda', 'by-hand', 'key.d6b96a97')
    """
    if label is None:
        return BY_HAND
    if label and _SAFE.issuperset(label):
        return f"key-{label}"
    return f"key.{sha256(label.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}"


def stores(state: str) -> "list[Store]":
    """Return the runs of all keys that have any, and those by hand."""
    folder = os.path.join(state, "runs")
    try:
        entries = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    return [Store(state, entry) for entry in entries if entry == BY_HAND or entry.startswith("key")]


def load(folder: str) -> "Run | None":
    """Return the run in a folder, or None if there is none."""
    claim = read_document(os.path.join(folder, CLAIM))
    return Run(folder, claim) if claim is not None and claim.get("format") == FORMAT else None


def hashes(salt: str, name: str, words: "tuple[str, ...]", plan: "Plan | None") -> "tuple[str, str | None]":
    """Return what a request is known by again: the hash of its words, and of what they come to.

    Args:
        salt: The claim's own, random: equal requests have different hashes, and no table of hashes helps.
        name: The command.
        words: Its arguments as they were sent.
        plan: What they come to, where that was decided.
    """
    sent = _hash(salt, [name, *words])
    if plan is None:
        return sent, None
    secrets = [f"{variable}={plan.environment[variable]}" for variable in plan.secrets]
    return sent, _hash(salt, [name, str(len(plan.arguments)), *plan.arguments, *secrets])


def read_document(path: str) -> "dict[str, Any] | None":
    """Return the JSON object in a file, or None if there is no such file, or no such object in it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        chunks: "list[bytes]" = []
        while True:
            chunk = os.read(descriptor, 1 << 16)
            if not chunk or len(chunks) > _MAX_BYTES >> 16:
                break
            chunks.append(chunk)
    finally:
        os.close(descriptor)
    try:
        return decode(b"".join(chunks))
    except ValueError:
        return None


def write_new(path: str, content: bytes) -> None:
    """Write a file that is not there yet, for its owner alone.

    Raises:
        OSError: If it cannot be written whole: on NFS, that the disk is full shows when the file is closed.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        while content:
            content = content[os.write(descriptor, content) :]
    finally:
        os.close(descriptor)


def fresh(folder: str) -> None:
    """Make an NFS client forget which names it believes to be missing in a folder: a change of its own does."""
    path = os.path.join(folder, f"{_LOOK}{os.urandom(8).hex()}")
    try:
        os.mkdir(path, 0o700)
        os.rmdir(path)
    except OSError:
        pass  # what is remembered is remembered for half a minute at most


def discard(folder: str) -> None:
    """Remove a folder of plain files, and of what `fresh` left there when it was killed, as far as it can be."""
    try:
        for entry in os.listdir(folder):
            path = os.path.join(folder, entry)
            if entry.startswith(_LOOK):
                os.rmdir(path)
            else:
                os.unlink(path)
        os.rmdir(folder)
    except OSError:
        pass  # pruning tries again


def _time_of(path: str) -> float:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)


def _hash(salt: str, texts: "list[str]") -> str:
    # No word holds a NUL byte: argv and the request's grammar have none.
    return str(sha256("\0".join([salt, *texts]).encode("utf-8", "surrogateescape")).hexdigest())
