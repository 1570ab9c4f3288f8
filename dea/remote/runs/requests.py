"""Handles what is asked about a run by its id: run it, replay or follow it, cancel it, run it anew.

Whatever is asked, and however often, a run id's command is started once; who asks late or again gets what is there.
"""

import _signal  # the C half of `signal`: the enums of the Python half are dear to import
import os
import time

from dea.remote import fault
from dea.remote.audit import timestamp
from dea.remote.contract.receipt import CANCELLED, LOST, RUNNING
from dea.remote.contract.receipt import REFUSED as OUTCOME_REFUSED
from dea.remote.contract.request import CANCEL, RERUN, RESULT, Refusal, Request, shown
from dea.remote.contract.status import BUSY, FAILED, NOT_FOUND, REFUSED
from dea.remote.decision import Plan, decide, recorded_arguments
from dea.remote.exchange import Exchange, complain, failure, say
from dea.remote.launch import GRACE_S
from dea.remote.places import Place, place_for
from dea.remote.runs.follow import CLAIMED, ClientGone, Output, Standing, Watch, follow, standing
from dea.remote.runs.store import FORMAT, Run, Store, discard, folder_of, hashes
from dea.remote.runs.supervisor import STATUS_CANCELLED, fork_supervisor

_CANCEL_MARGIN_S = 3.0


def handle(exchange: Exchange, request: Request) -> int:
    """Handle a request with a run id, and return the exit status.

    Args:
        exchange: The request's record and answer.
        request: The request.
    """
    # The run outlives this process, so it need not hear of Ctrl-C.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    handler = _Handler(exchange, request)
    try:
        if request.verb == RESULT:
            return handler.result()
        if request.verb == CANCEL:
            return handler.cancel()
        if request.verb == RERUN:
            handler.rerun()
        return handler.run()
    except ClientGone:
        return FAILED  # nobody hears it
    except Refusal as refusal:
        return handler.fail(refusal)
    except Exception as error:  # noqa: BLE001 - the last resort: a clear line and 125, never a traceback to a client
        return handler.fail(failure(error))


class _Handler:
    def __init__(self, exchange: Exchange, request: Request) -> None:
        self._exchange = exchange
        self._site = exchange.site
        self._request = request
        self._run_id = str(request.run_id)
        self._store = Store(exchange.site.state, folder_of(exchange.key.label))
        self._first: "Run | None" = None  # of which this is a further attempt
        self._replayed = True
        self._run: "Run | None" = None  # once it is known to be there
        self._output_to_client: "Output | None" = None
        self._watch = Watch()

    def run(self) -> int:
        """Run the request's command, unless it is there already; then replay or follow it."""
        run = self._store.find(self._run_id)
        if run is None:
            run = self._begin()
        if self._replayed:
            try:
                self._check_same(run)
            except Refusal as refusal:
                # The answer to this request for good, `replayed` says: the run is there, and it is another's.
                return self._exchange.refuse(refusal, replayed=True)
            self._run = run
            self._record_replay(run)
        return self._hand_out(run, may_start=True)

    def fail(self, refusal: Refusal) -> int:
        """Say that the request cannot be answered, and return the status: `refused` only if there is no run of its id.

        What has been started runs on, whatever befalls the process that tells of it.
        """
        if self._run is None or refusal.status == BUSY:
            return self._exchange.refuse(refusal)
        # After the first byte of a run's stderr, whatever comes before the receipt passes for the run's.
        if self._output_to_client is None or not self._output_to_client.has_sent:
            say(*(f"{self._run_id} is there, and cannot be told of now: {problem}" for problem in refusal.problems))
        self._exchange.hand_out_receipt(self._run_id, RUNNING, None, replayed=self._replayed)
        return FAILED

    def result(self) -> int:
        """Replay or follow a run."""
        run = self._find()
        self._record_replay(run)
        if not self._request.detach:
            return self._hand_out(run, may_start=False)
        found = standing(self._store, run)
        output = self._output(run)
        if found.outcome is not None:
            found = follow(self._store, run, output, self._watch, self._site.beat_s)
        else:
            output.hand_out()
        return self._answer(run, found)

    def cancel(self) -> int:
        """End a run, or see to it that it never starts."""
        run = self._find()
        found = standing(self._store, run)
        if found.outcome is None:
            run.ask_to_end()
            if found.state == CLAIMED:
                self._end_before_start(run)
            found = self._await_end(run)
        about: "dict[str, object]" = {"run_id": self._run_id, "outcome": found.reported(self._site.lost_after_s)}
        try:
            self._exchange.record(("cancelled", about))
        except Refusal as unrecorded:
            # Nothing was started, and what fills the disk must not keep its own end from being known.
            complain(unrecorded)
        self._hand_out_receipt(run, found)
        return 0

    def rerun(self) -> None:
        """Turn the request for a new attempt into the request that the former run was made of.

        Raises:
            Refusal: If there is no such run, or what it was asked for is not known in full.
        """
        old_id = str(self._request.rerun_of)
        old = self._store.find_surely(old_id)
        if old is None:
            raise _unknown(old_id)
        if old.claim["secret"]:
            raise Refusal(
                REFUSED,
                f"{old_id} had a secret among its arguments, and secrets are not stored: send the whole request with a new run id",
            )
        first_id = old.claim["attempt_of"]
        self._first = (self._store.find(first_id) if first_id else None) or old
        former = self._request
        self._request = self._exchange.request = Request(
            old.claim["command"], tuple(old.claim["arguments"]), run_id=self._run_id, detach=former.detach
        )

    def _find(self) -> Run:
        run = self._store.find_surely(self._run_id)
        only = self._exchange.key.only
        # Another key with the same label may run more: what came of that is no business of a key with `--only`.
        if run is None or only not in (None, run.claim["command"]):
            raise _unknown(self._run_id)
        self._run = run
        return run

    def _begin(self) -> Run:
        """Claim the run and have its command started, or find that another request was faster."""
        plan, place = self._decide()
        run = None
        try:
            prepared = self._prepare(plan)
            fault.step("claim-prepared")
            try:
                self._exchange.record()
            except Refusal:
                discard(prepared.folder)
                raise
            fault.step("received-recorded")
            try:
                run = self._store.claim(prepared)
            except OSError as error:
                raise _unclaimable(error) from error
            self._replayed = run.claim["token"] != prepared.claim["token"]
            if not self._replayed:
                self._run = run
        finally:
            if place is not None and (run is None or self._replayed):
                place.give_back()
        if not self._replayed:
            fault.step("claim-renamed")
            self._start(run, str(run.claim["token"]), plan, place)
        return run

    def _decide(self) -> "tuple[Plan, Place | None]":
        """Decide whether the command may run now."""
        plan = decide(self._site, self._exchange.key, self._request)
        if plan.stdin:
            raise Refusal(
                REFUSED,
                f"{self._request.name} reads stdin, so it cannot run durably: a broken connection would end its input"
                " early, and nobody would know; leave out --run-id",
            )
        if self._first is not None:
            # What a former attempt began elsewhere, a batch job say, can have an end that nobody heard of.
            plan.environment["DEA_ATTEMPT_OF"] = self._first.run_id
        place = None
        if plan.max_parallel is not None and not self._exchange.is_by_hand:
            place = place_for(self._site, self._request.name, plan.max_parallel)
            fault.step("place-taken")
        return plan, place

    def _prepare(self, plan: Plan) -> Run:
        salt = os.urandom(16).hex()
        sent, bound = hashes(salt, self._request.name, self._request.arguments, plan)
        try:
            claim: "dict[str, object]" = {
                "format": FORMAT,
                "run_id": self._run_id,
                "token": os.urandom(16).hex(),
                "key": self._exchange.key.label,
                "command": self._request.name,
                "arguments": list(plan.recorded),
                "secret": bool(plan.secrets),
                "received": self._exchange.received,
                "attempt": self._store.number_of_attempt(self._first, self._run_id) if self._first is not None else 1,
                "attempt_of": self._first.run_id if self._first is not None else None,
                "salt": salt,
                "sent": sent,
                "bound": bound,
            }
            return self._store.prepare(claim)
        except OSError as error:
            raise _unclaimable(error) from error

    def _start(self, run: Run, token: str, plan: Plan, place: "Place | None") -> None:
        say(*(f"warning: {warning}" for warning in plan.warnings))
        self._watch = Watch(fork_supervisor(run, token, plan, self._exchange, place))
        fault.step("supervisor-forked")

    def _take_over(self, run: Run) -> None:
        """Have a claim started whose own supervisor never did; should it still wake up, one of the two starts it."""
        plan, place = self._decide()
        token = os.urandom(16).hex()
        try:
            run.reserve(token)
        except OSError as error:
            if place is not None:
                place.give_back()
            raise _unclaimable(error) from error
        run.beat()
        self._replayed = False
        self._start(run, token, plan, place)

    def _hand_out(self, run: Run, *, may_start: bool) -> int:
        """Answer with the run's output and end, or, detached, with its start."""
        output = None if self._request.detach else self._output(run)
        until_started = self._request.detach
        while True:
            found = follow(self._store, run, output, self._watch, self._site.beat_s, until_started=until_started)
            if found.state != CLAIMED:
                break
            if may_start:
                may_start = False  # once is enough: a second try would fail as the first
                self._take_over(run)
            elif found.silent_s > self._site.lost_after_s:
                break
            else:
                self._watch.wait(self._site.beat_s, moved=False)
        fault.step("output-sent")
        return self._answer(run, found)

    def _output(self, run: Run) -> Output:
        self._output_to_client = Output(run, self._request.from_stdout, self._request.from_stderr)
        return self._output_to_client

    def _answer(self, run: Run, found: Standing) -> int:
        """Say how the run stands; return the exit status that goes with it."""
        outcome = found.outcome
        if (
            outcome is not None
            and outcome["outcome"] == OUTCOME_REFUSED
            and outcome["stderr_stored"] < outcome["stderr_bytes"]
        ):
            say(*outcome["problems"])  # the disk was full: the reason is nowhere but in the room that was kept for it
        self._hand_out_receipt(run, found)
        if self._request.detach:
            return 0
        return int(outcome["status"]) if outcome is not None else FAILED

    def _hand_out_receipt(self, run: Run, found: Standing) -> None:
        outcome = found.outcome or {}
        stored = {name: run.stored_bytes(name) for name in ("stdout", "stderr")}
        stored = {name: min(size, outcome.get(f"{name}_stored", size)) for name, size in stored.items()}
        state = found.reported(self._site.lost_after_s)
        written = stored if state != LOST else {"stdout": None, "stderr": None}
        facts = {
            "started": found.started,
            "ended": outcome.get("ended"),
            "stdout_bytes": outcome.get("stdout_bytes", written["stdout"]),
            "stderr_bytes": outcome.get("stderr_bytes", written["stderr"]),
            "stdout_stored": stored["stdout"],
            "stderr_stored": stored["stderr"],
            "children": outcome.get("children"),
            "attempt": run.claim["attempt"],
            "attempts": self._store.attempts(run),
            "replayed": self._replayed,
        }
        if not self._replayed and outcome.get("audit") is not None:
            facts["audit"] = outcome["audit"]
        self._exchange.hand_out_receipt(self._run_id, state, outcome.get("status"), **facts)

    def _record_replay(self, run: Run) -> None:
        outcome = run.outcome()
        about = {"run_id": self._run_id, "command": run.claim["command"]}
        self._exchange.record(("replayed", {**about, "outcome": outcome["outcome"] if outcome else None}))

    def _check_same(self, run: Run) -> None:
        """Check that the run was claimed for what this request asks for.

        Raises:
            Refusal: Naming the difference, if it was claimed for anything else.
        """
        claim, request = run.claim, self._request
        if claim["attempt_of"] != (self._first.run_id if self._first is not None else None):
            raise _different(self._run_id, f"as attempt of {claim['attempt_of'] or 'nothing else'}")
        # The words alone are enough, whatever the approval says by now: nothing is started.
        if hashes(claim["salt"], request.name, request.arguments, None)[0] == claim["sent"]:
            return
        if claim["command"] != request.name:
            raise _different(self._run_id, f"for {claim['command']}, and this asks for {request.name}")
        try:
            plan = decide(self._site, self._exchange.key, request)
        except Refusal:
            plan = None
        if plan is not None and hashes(claim["salt"], request.name, request.arguments, plan)[1] == claim["bound"]:
            return
        raise _different(
            self._run_id,
            _difference(
                claim["arguments"], plan.recorded if plan is not None else recorded_arguments(self._site, request)
            ),
        )

    def _end_before_start(self, run: Run) -> None:
        """Decide that the run never starts, if nobody has decided that it does: start and outcome in one."""
        token = os.urandom(16).hex()
        outcome = {
            "format": FORMAT,
            "outcome": CANCELLED,
            "status": STATUS_CANCELLED,
            "started": None,
            "ended": None,
            "stdout_bytes": 0,
            "stderr_bytes": 0,
            "children": None,
            "audit": None,
            "problems": [],
        }
        start: "dict[str, object]" = {
            "token": token,
            "node": self._site.node,
            "pid": os.getpid(),
            "started": timestamp(0),
            "lost_after_s": self._site.lost_after_s,
            "outcome": outcome,
        }
        run.reserve(token)
        run.prepare_start(start)
        run.start(start)

    def _await_end(self, run: Run) -> Standing:
        """Wait for the outcome of a run that was asked to end, for a limited time."""
        deadline = time.monotonic() + GRACE_S + 2 * self._site.beat_s + _CANCEL_MARGIN_S
        while True:
            found = standing(self._store, run)
            if found.state not in (RUNNING, CLAIMED) or time.monotonic() > deadline:
                return found
            self._watch.wait(self._site.beat_s, moved=False)


def _difference(claimed: "list[str]", asked: "tuple[str, ...] | None") -> str:
    """Say how two requests' arguments differ, without any secret."""
    if asked is None:
        return "for other arguments, which may hold a secret"
    for number, was in enumerate(claimed[: len(asked)]):
        if was != asked[number]:
            return f"with {shown(was)} as word {number + 1} after the name, and this has {shown(asked[number])}"
    if len(claimed) != len(asked):
        return f"with {len(claimed)} words after the name, and this has {len(asked)}"
    return "with another secret"


def _different(run_id: str, difference: str) -> Refusal:
    return Refusal(
        REFUSED,
        f"the run id {run_id} was claimed {difference}: one run id is for one request; send another with a new one",
    )


def _unknown(run_id: str) -> Refusal:
    return Refusal(NOT_FOUND, f"there is no run {run_id} of this key: --history lists those that there are")


def _unclaimable(error: OSError) -> Refusal:
    reason = error.strerror or str(error)
    return Refusal(REFUSED, f"the state folder cannot be written ({reason}): nothing was claimed; tell the operator")
