"""One question to the scheduler for all who want to know: whoever asks first writes the answer down, the others read it.

    <state>/jobs/status/wanted/TOKEN   the ids that one caller wants; its time of modification is when it came
                        asked          its time of modification is when the scheduler was last asked, or was about to be
                        turn/          who may ask: a place, of which there is one (`dea.remote.places`)
                        answer         what the scheduler said, or why it said nothing

However many callers there are, on however many login nodes, the scheduler is asked no more often than once in an interval,
each time for all that is wanted by then. Whose ids are not in the answer waits for the next question. All times are the
file system's own. An asker that dies has asked; the next one asks an interval later, once its turn counts as given up.
"""

import os
import time

from dea.remote.contract.job import InvalidAnswer, Job, Standing, parse_job
from dea.remote.places import take_place
from dea.remote.schedulers.calls import CALL_TIMEOUT_S, hold, perform
from dea.remote.schedulers.errors import SchedulerError, Unreachable
from dea.remote.schedulers.measures import time_of_epoch
from dea.remote.schedulers.records import FORMAT, Records, read_whole, write_whole

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from dea.remote.places import Place
    from dea.remote.schedulers.calls import Answer, Call
    from dea.remote.schedulers.choose import Scheduler

INTERVAL_S = 10.0
"""How far apart questions to the scheduler are at least, unless the site says otherwise."""

WINDOW_S = 0.2
"""How long an asker waits for others that come at the same moment."""

_LOST_AFTER_S = 20.0
_FORGOTTEN_AFTER_S = 3600.0
_LOOK_S, _LOOK_AT_LEAST_EVERY_S = 0.05, 0.5


class Shared:
    """The questions to a scheduler that all callers share.

    Args:
        scheduler: The scheduler.
        state: The state folder.
        interval_s: How far apart questions are at least.
        window_s: How long to wait for others.
        lost_after_s: After how long without a sign of life an asker's turn is over.
    """

    def __init__(
        self,
        scheduler: "Scheduler",
        state: str,
        *,
        interval_s: float = INTERVAL_S,
        window_s: float = WINDOW_S,
        lost_after_s: float = _LOST_AFTER_S,
    ) -> None:
        self._scheduler = scheduler
        self._records = Records(state)
        self._folder = os.path.join(state, "jobs", "status")
        self._wanted = os.path.join(self._folder, "wanted")
        self._interval_s = interval_s
        self._window_s = window_s
        self._lost_after_s = lost_after_s

    def standing(self, job_ids: "list[str]", *, from_now: bool = False) -> Standing:
        """Return how jobs stand, one for each id, in their order.

        Args:
            job_ids: The ids.
            from_now: Take no answer to a question that was asked before this call.

        Note:
            Blocks until there is an answer: an interval and a question's time at most, where nobody died.

        Raises:
            Unreachable: The scheduler cannot be asked, which another caller may have found out.
            OSError: If the state folder cannot be written.
        """
        own = self._want(job_ids)
        pause_s = _LOOK_S
        try:
            came = _modified(own)
            # Two questions, and a turn that somebody else died with.
            deadline = time.monotonic() + 2 * (self._interval_s + CALL_TIMEOUT_S) + self._lost_after_s
            while True:
                # The moment of asking is written down a window before the question itself.
                standing = self._answered(job_ids, since=came if from_now else came - self._interval_s)
                if standing is not None:
                    return standing
                if self._ask_if_due(own):
                    continue
                if time.monotonic() > deadline:
                    raise Unreachable("whoever asks the scheduler for all has no answer: try again later")
                time.sleep(pause_s)
                # Each look reads the answer, which can be about thousands of jobs.
                pause_s = min(1.5 * pause_s, _LOOK_AT_LEAST_EVERY_S)
        finally:
            _remove(own)

    def _answered(self, job_ids: "list[str]", since: float) -> "Standing | None":
        """Return what the last answer says of all these jobs, or None if it is too old, or not about all of them.

        Raises:
            Unreachable: It says why there is none.
        """
        answer = read_whole(os.path.join(self._folder, "answer"))
        if answer is None or answer.get("format") != FORMAT or float(answer["asked"]) < since:
            return None
        if answer["problem"] is not None:
            raise Unreachable(str(answer["problem"]))
        if any(job_id not in answer["jobs"] for job_id in job_ids):
            return None
        try:
            jobs = tuple(parse_job(answer["jobs"][job_id]) for job_id in job_ids)
        except InvalidAnswer:
            return None  # of another release, which knows a job by other fields
        return Standing(str(answer["scheduler"]), str(answer["as_of"]), jobs)

    def _want(self, job_ids: "list[str]") -> str:
        name = os.urandom(8).hex()
        write_whole(self._wanted, name, {"ids": job_ids})
        return os.path.join(self._wanted, name)

    def _ask_if_due(self, own: str) -> bool:
        """Ask the scheduler, if that is due and nobody else does; return whether there is an answer now."""
        if not self._is_due(own):
            return False
        place = take_place(os.path.join(self._folder, "turn"), 1, self._lost_after_s)
        if place is None:
            return False
        try:
            if not self._is_due(own):
                return True  # another had its turn in between
            self._ask(place)
        finally:
            place.give_back()
        return True

    def _is_due(self, own: str) -> bool:
        try:
            asked = _modified(os.path.join(self._folder, "asked"))
        except FileNotFoundError:
            return True
        os.utime(own)
        # A time that is ahead is a clock's that was put back: believed, it would forbid every question until then.
        return not 0 <= _modified(own) - asked < self._interval_s

    def _ask(self, place: "Place") -> None:
        asked = os.path.join(self._folder, "asked")
        # Before the question: who dies with it has asked.
        os.close(os.open(asked, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        os.utime(asked)
        at = _modified(asked)
        time.sleep(self._window_s)
        job_ids = self._all_wanted(at)

        def call(one: "Call") -> "Answer":
            return perform(one, beat=place.beat)

        problem = None
        jobs: "dict[str, Job]" = {}
        as_of = str(time_of_epoch(time.time()))
        try:
            for job_id, job in hold(self._scheduler.status(job_ids), call).items():
                place.beat()
                jobs[job_id] = self._records.see(job)
        except SchedulerError as error:
            problem = str(error)
        answer: "dict[str, object]" = {
            "format": FORMAT,
            "scheduler": self._scheduler.NAME,
            "as_of": as_of,
            "asked": at,
            "problem": problem,
            "jobs": {job_id: job.encode() for job_id, job in jobs.items()},
        }
        write_whole(self._folder, "answer", answer)
        self._records.prune(at)

    def _all_wanted(self, now: float) -> "list[str]":
        job_ids: "dict[str, None]" = {}
        for name in sorted(os.listdir(self._wanted)):
            path = os.path.join(self._wanted, name)
            document = read_whole(path)
            try:
                if now - _modified(path) > _FORGOTTEN_AFTER_S:
                    _remove(path)  # its caller was killed
                    continue
            except FileNotFoundError:
                continue
            if document is not None and not name.startswith("."):
                job_ids.update(dict.fromkeys(document["ids"]))
        return list(job_ids)


def _modified(path: str) -> float:
    """Return a file's time of modification; opening it asks an NFS server anew."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # an asker took it for forgotten
