"""What the login nodes remember of jobs, in the state folder that they share.

    <state>/jobs/submissions/FIRST/RUN_ID   a submission: before it is sent, and then what came of it
    <state>/jobs/own/ID                     the jobs that were submitted from here, by id: the run's id and the name
    <state>/jobs/seen/ID                    how a job was last seen, written when that changes

FIRST is the run id of a request's first attempt, so that a further attempt finds what the former ones left open. A file is
written under another name and renamed: it is never there in part. Submissions are forced to disk as well.
"""

import json
import os

from dea.remote.audit import make_private_folder
from dea.remote.contract.job import InvalidAnswer, Job, after, parse_job
from dea.remote.disk import force_to_disk

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from typing import Any

FORMAT = 1
KEPT_S = 90 * 86400.0
"""For how long a job is remembered after it was last written down."""

_PRUNE_EVERY_S = 86400.0


class Records:
    """The jobs that are remembered in a state folder.

    Args:
        state: The state folder.
    """

    def __init__(self, state: str) -> None:
        self.folder = os.path.join(state, "jobs")

    def write_submission(self, first: str, run_id: str, document: "dict[str, object]") -> None:
        """Write down a submission, as far as it has come.

        Raises:
            OSError: If it cannot be.
        """
        folder = os.path.join(self.folder, "submissions", first)
        write_whole(folder, run_id, {"format": FORMAT, **document}, durable=True)
        force_to_disk(folder)

    def submissions(self, first: str) -> "dict[str, dict[str, Any]]":
        """Return the submissions of all attempts of a request, by run id.

        Raises:
            OSError: If they cannot be read: then nobody knows what was sent before.
        """
        folder = os.path.join(self.folder, "submissions", first)
        try:
            entries = os.listdir(folder)
        except FileNotFoundError:
            return {}
        found = {}
        for entry in sorted(entries):
            if entry.startswith("."):
                continue
            document = read_whole(os.path.join(folder, entry))
            if document is None:
                raise OSError(f"{os.path.join(folder, entry)} is no record of a submission")
            found[entry] = document
        return found

    def note_own(self, job_id: str, run_id: "str | None", name: str, submitted: str) -> None:
        """Write down that a job was submitted from here: how another of that id once stood is no longer of interest.

        Raises:
            OSError: If it cannot be.
        """
        # A scheduler begins its numbers anew: after the highest, or when it is installed anew.
        known = self._seen(job_id)
        if known is not None and known.submitted is not None and known.submitted < submitted and known.final:
            os.unlink(os.path.join(self.folder, "seen", job_id))
        about: "dict[str, object]" = {"format": FORMAT, "run_id": run_id, "name": name, "submitted": submitted}
        write_whole(os.path.join(self.folder, "own"), job_id, about)

    def own(self, job_id: str) -> "dict[str, Any] | None":
        """Return what was written down of a job that was submitted from here, or None."""
        return read_whole(os.path.join(self.folder, "own", job_id))

    def see(self, job: Job) -> Job:
        """Join what is seen of a job with what was seen before; remember it and return it.

        A known end stays, also when the scheduler has forgotten the job.

        Raises:
            OSError: If it cannot be written down.
        """
        known = self._seen(job.id)
        joined = after(known, job)
        if known is None and not joined.final and joined.submitted is None:
            # Nothing was ever seen of it: if it was submitted from here, something took it away, as a routing queue does.
            about = self.own(job.id)
            if about is None:
                return joined
            reason = (
                f"it was submitted at {about['submitted']}, and not seen since: the scheduler may have thrown it out"
            )
            return Job(job.id, joined.state, name=str(about["name"]), reason=reason, submitted=str(about["submitted"]))
        if known is None or joined != known:
            write_whole(os.path.join(self.folder, "seen"), job.id, joined.encode())
        return joined

    def prune(self, now: float) -> None:
        """Forget what was last written down long ago; it looks only once a day.

        Args:
            now: The time by the file system's own clock.
        """
        mark = os.path.join(self.folder, "pruned")
        try:
            if now - os.stat(mark).st_mtime < _PRUNE_EVERY_S:
                return
        except FileNotFoundError:
            pass
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        os.utime(mark)
        for name in ("seen", "own", "submissions"):
            for folder, folders, files in os.walk(os.path.join(self.folder, name), topdown=False):
                _forget(folder, files, folders, now - KEPT_S)

    def _seen(self, job_id: str) -> "Job | None":
        document = read_whole(os.path.join(self.folder, "seen", job_id))
        try:
            return parse_job(document) if document is not None else None
        except InvalidAnswer:
            return None  # another version's; what the scheduler says is there


def write_whole(folder: str, name: str, document: "dict[str, object]", *, durable: bool = False) -> None:
    """Write a file so that it is there whole or not at all; the folder is made if missing.

    Args:
        folder: The folder.
        name: The file's name there.
        document: What it holds.
        durable: Whether its content is to survive a loss of power.

    Raises:
        OSError: If it cannot be written.
    """
    own = os.path.join(folder, f".new-{os.urandom(8).hex()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(own, flags, 0o600)
    except FileNotFoundError:
        make_private_folder(folder)
        descriptor = os.open(own, flags, 0o600)
    try:
        content = json.dumps(document).encode()
        while content:
            content = content[os.write(descriptor, content) :]
        if durable:
            os.fsync(descriptor)
    except OSError:
        os.unlink(own)
        raise
    finally:
        os.close(descriptor)
    os.rename(own, os.path.join(folder, name))


def read_whole(path: str) -> "dict[str, Any] | None":
    """Return what `write_whole` wrote, or None if it is not there or anything else."""
    try:
        with open(path, "rb") as file:
            document = json.loads(file.read())
    except (FileNotFoundError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _forget(folder: str, files: "list[str]", folders: "list[str]", before: float) -> None:
    for name in files:
        path = os.path.join(folder, name)
        try:
            if os.stat(path).st_mtime < before:
                os.unlink(path)
        except OSError:
            pass  # another login node was faster
    for name in folders:
        try:
            os.rmdir(os.path.join(folder, name))
        except OSError:
            pass  # it is not empty
