"""Submits a job at most once for a run, whatever becomes of the answer.

Before anything is sent, it is written down that it will be. If no clear answer comes, the scheduler is asked for the job by
the mark in its name, which comes from the run's id; only if it surely knows of none is the job sent again. What stays open
when this process is ended is asked for by the next attempt of the same request, before that sends anything.
"""

import os
import pwd
import time

from dea.remote.contract.job import CANCELLED, FAILED, LOST, SUCCEEDED, UNKNOWN, Submitted
from dea.remote.digest import sha256
from dea.remote.schedulers.calls import CALL_TIMEOUT_S, hold
from dea.remote.schedulers.errors import Refused, SchedulerError, Uncertain, Unreachable
from dea.remote.schedulers.measures import time_of_epoch
from dea.remote.schedulers.records import Records

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from dea.remote.schedulers.calls import Perform
    from dea.remote.schedulers.choose import Scheduler
    from dea.remote.schedulers.order import Order

SENT, SUBMITTED, NOT_SUBMITTED = "sent", "submitted", "not submitted"
"""How far a submission has come: it is being sent, or nobody knows; there is a job; there is none, and that is certain."""

SETTLE_S = 5.0
"""How long after an unclear answer the scheduler must at least still know of no job, until that is believed."""

PATIENCE_S = 300.0
"""How long the scheduler is asked what became of an unclear submission."""

SENDINGS = 3

UNDER_WAY_S = CALL_TIMEOUT_S + 10.0
"""How long after it was sent an earlier attempt's job may still be on its way, though the scheduler knows of none."""

_NEVER_MET = {"afterok": (FAILED, CANCELLED), "afternotok": (SUCCEEDED,)}


class Submission:
    """One order of one run.

    Args:
        scheduler: The scheduler.
        order: The order.
        records: What is remembered; not used for an order without a run id, which nobody can ask for again.
        first: The run id of the request's first attempt: the order's own, unless it is a further attempt.
        perform: How programs are called.
        say: Where warnings go.
        settle_s: For how long there must be no job before it is sent again.
        patience_s: For how long to ask.
        under_way_s: For how long an earlier attempt's job may still arrive.
    """

    def __init__(
        self,
        scheduler: "Scheduler",
        order: "Order",
        records: Records,
        first: "str | None",
        perform: "Perform",
        say: "Callable[[str], None]",
        *,
        settle_s: float = SETTLE_S,
        patience_s: float = PATIENCE_S,
        under_way_s: float = UNDER_WAY_S,
    ) -> None:
        self._scheduler = scheduler
        self._order = order
        self._records = records
        self._first = first or order.run_id
        self._perform = perform
        self._say = say
        self._settle_s = settle_s
        self._patience_s = patience_s
        self._under_way_s = under_way_s
        self._account = pwd.getpwuid(os.getuid()).pw_name
        self._begun = time.time()
        self._digest = sha256(repr(order).encode()).hexdigest()

    def submit(self) -> Submitted:
        """Submit the order, or find the job that it or an earlier attempt of it became.

        Raises:
            Refused: There is no job, and the same order will make none; or the run has submitted another order before.
            Unreachable: There is no job, because the scheduler cannot be reached.
            Uncertain: Nobody knows whether there is a job.
        """
        earlier = self._earlier()
        if earlier is not None:
            return earlier
        if self._order.after and self._scheduler.UNKNOWN_IS_MET:
            self._check_dependencies()
        for _ in range(SENDINGS):
            self._note(SENT)
            try:
                job_id = self._scheduler.submitted(self._perform(self._scheduler.submit_call(self._order)))
            except Uncertain as error:
                unclear = error
            except SchedulerError:
                self._note(NOT_SUBMITTED)
                raise
            else:
                return self._done(job_id)
            self._say(f"{unclear}: asking the scheduler for the job {self._name}")
            found = self._settle(unclear)
            if found is not None:
                return self._done(found)
            if self._is_taken_over():
                raise Unreachable(
                    f"{unclear}; there is no job, and another attempt of this run has begun: it submits, if any"
                ) from unclear
        self._note(NOT_SUBMITTED)
        raise Unreachable(f"{unclear}; that was so {SENDINGS} times, and there is no job") from unclear

    def _check_dependencies(self) -> None:
        """Check that what the order depends on can still be met, where the scheduler does not tell that from what is met."""
        ids = list(dict.fromkeys(job_id for _, job_id in self._order.after))
        jobs = hold(self._scheduler.status(ids), self._perform)
        for relation, job_id in self._order.after:
            try:
                job = self._records.see(jobs[job_id])
            except OSError as error:
                raise Refused(f"{error}: how {job_id} stands cannot be told, so nothing was submitted") from error
            if job.state in (UNKNOWN, LOST):
                raise Refused(
                    f"after: nobody knows the job {job_id} any more, and {self._scheduler.NAME} would take {relation} on it"
                    " for met: leave it out if it is"
                )
            if job.state in _NEVER_MET.get(relation, ()):
                raise Refused(f"after: {job_id} is over ({job.state}), so {relation} can never be met")

    @property
    def _name(self) -> str:
        return self._order.name_within(self._scheduler.NAME_LIMIT)

    def _earlier(self) -> "Submitted | None":
        """Return the job of an earlier attempt that nobody had heard of; what had a clear end is no concern of this one."""
        if self._first is None:
            return None
        try:
            submissions = self._records.submissions(self._first)
        except OSError as error:
            raise Refused(
                f"{error}: what was submitted before cannot be told, so nothing was; tell the operator"
            ) from error
        for run_id, document in submissions.items():
            if run_id == self._order.run_id and document.get("order", self._digest) != self._digest:
                raise Refused(
                    f"this run has submitted {document['name']} already, and one run submits one job: nothing was submitted;"
                    " send a request for each"
                )
            if run_id == self._order.run_id and document.get("stage") == SUBMITTED:
                return self._answer(str(document["job_id"]), str(document["name"]), float(document["begun"]))
            if document.get("stage") != SENT:
                continue
            job_id = self._ask_for(run_id, document)
            if job_id is not None:
                self._say(f"attempt {run_id} had submitted {job_id}, and nobody had heard of it: this is that job")
                self._note(SUBMITTED, job_id, str(document["name"]))
                return self._answer(job_id, str(document["name"]), float(document["begun"]))
        return None

    def _is_taken_over(self) -> bool:
        """Tell whether another attempt has found that this one has no job: this process was frozen, and taken for dead."""
        if self._first is None or self._order.run_id is None:
            return False
        try:
            return self._records.submissions(self._first)[self._order.run_id].get("stage") != SENT
        except (OSError, KeyError):
            return True  # what cannot be told must not be sent

    def _ask_for(self, run_id: str, document: "dict[str, Any]") -> "str | None":
        """Ask what became of an earlier attempt's submission, and write that down."""
        name = str(document["name"])
        try:
            ids, proven = self._find(name, max(0.0, time.time() - float(document["begun"])))
        except Unreachable as error:
            raise Uncertain(
                f"attempt {run_id} may have submitted {name}, and the scheduler cannot be asked ({error}): nothing was"
                " submitted now; try again later"
            ) from error
        if not ids and not proven:
            raise Uncertain(
                f"attempt {run_id} may have submitted {name}, and the scheduler keeps no history that would show it: nothing"
                " was submitted now; look for it by hand, and send a new request if it never was"
            )
        age_s = time.time() - float(document.get("sent", document["begun"]))
        if not ids and age_s < self._under_way_s:
            raise Uncertain(
                f"attempt {run_id} sent {name} {max(0, int(age_s))} seconds ago, and it may still arrive: nothing was submitted"
                f" now; try again in {int(self._under_way_s - age_s) + 1} seconds"
            )
        job_id = ids[0] if ids else None
        known = {key: value for key, value in document.items() if key != "format"}
        try:
            self._records.write_submission(
                str(self._first), run_id, {**known, "stage": SUBMITTED if ids else NOT_SUBMITTED, "job_id": job_id}
            )
            if job_id is not None:
                self._records.note_own(job_id, run_id, name, str(time_of_epoch(float(document["begun"]))))
        except OSError as error:
            self._say(f"warning: {error}")
        return job_id

    def _settle(self, unclear: Uncertain) -> "str | None":
        """Ask for the job after an unclear answer, until that is certain; return its id, or None if there is none.

        The network may deliver late what was sent before it broke: as late again, at most, as it took to come back. So
        there must be no job at two looks, the second as long after the first as the first came after the sending.
        """
        sent = time.monotonic()
        deadline = sent + self._patience_s
        look_again_at = None
        pause_s = min(0.2, self._settle_s)
        problem = f"the scheduler keeps no history that would show a job {self._name} that has ended"
        while time.monotonic() < deadline:
            try:
                ids, proven = self._find(self._name, time.time() - self._begun)
            except Unreachable as error:
                problem = str(error)
            else:
                if ids:
                    return ids[0]
                if not proven:
                    break
                now = time.monotonic()
                if look_again_at is None:
                    look_again_at = max(sent + self._settle_s, now + (now - sent))
                elif now >= look_again_at:
                    return None
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, self._settle_s)
        raise Uncertain(
            f"{unclear}; and whether there is a job {self._name} cannot be told ({problem}): another attempt of this run"
            " (inv rerun) asks for it before it sends anything"
        ) from unclear

    def _find(self, name: str, since_s: float) -> "tuple[list[str], bool]":
        ids, proven = hold(self._scheduler.find(name, self._account, since_s), self._perform)
        if len(ids) > 1:
            self._say(f"warning: there are several jobs {name}: {', '.join(ids)}; the first counts")
            ids.sort(key=lambda job_id: int("".join(char for char in job_id.partition(".")[0] if char.isdigit()) or 0))
        return ids, proven

    def _done(self, job_id: str) -> Submitted:
        self._note(SUBMITTED, job_id)
        answer = self._answer(job_id, self._name, self._begun)
        try:
            self._records.note_own(job_id, self._order.run_id, self._name, answer.submitted)
        except OSError as error:
            self._say(f"warning: {job_id} is submitted, and cannot be written down: {error}")
        return answer

    def _answer(self, job_id: str, name: str, at: float) -> Submitted:
        return Submitted(self._scheduler.NAME, job_id, self._order.run_id, name, str(time_of_epoch(at)))

    def _note(self, stage: str, job_id: "str | None" = None, name: "str | None" = None) -> None:
        """Write down how far the submission has come. Without that nothing is sent; after it, the job is the truth."""
        if self._first is None or self._order.run_id is None:
            return
        document: "dict[str, object]" = {
            "stage": stage,
            "job_id": job_id,
            "name": name or self._name,
            "begun": self._begun,
            "order": self._digest,
            "sent": time.time(),
        }
        try:
            self._records.write_submission(self._first, self._order.run_id, document)
        except OSError as error:
            if stage == SENT:
                raise Refused(
                    f"{error}: what is not written down before it is sent could be sent twice, so nothing was submitted;"
                    " tell the operator"
                ) from error
            self._say(f"warning: {error}")
