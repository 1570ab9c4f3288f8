"""Asks the login node until a run's outcome is known: over however many connections, with one run id, up to a deadline.

What an answer means is decided here, by its receipt. It does not know SSH: a `Line` carries requests and answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NoReturn, Protocol

from dea.raijin.errors import (
    CannotConnect,
    CommandTimeout,
    ConnectionLost,
    CredentialsError,
    InvalidAnswer,
    LoginNodeBusy,
    OutcomeUnknown,
    RaijinError,
    RunLost,
    UnknownRun,
)
from dea.raijin.exchange import DeadlinePassed, Interrupted, Receiver
from dea.raijin.retry import Deadline, Retries, TokenBucket, Tries
from dea.raijin.streams import Output
from dea.remote.contract import FAILED, NOT_FOUND, Receipt, shown, take_receipt

# `lost` yields to a late outcome, but nobody waits for it.
_FINAL = ("exited", "signaled", "timed_out", "cancelled", "lost")

_INVALID_ANSWERS = 4
"""So many answers in a row that are none of the dispatcher's: something stands in its place, and trying on only delays that."""

_KILLED = 128  # and the signal's number

_politeness = TokenBucket(rate_per_s=10.0, burst=40)
"""For all retries of this process together: what many calls at once may ask of a login node that is in trouble."""


class Line(Protocol):
    """The way to the login node and back."""

    def exchange(self, request: str, receiver: Receiver, deadline: Deadline) -> int:
        """Send a request, hand the answer's output over as it comes, return its exit status.

        Raises:
            CredentialsError: If nothing was sent for lack of credentials.
            CannotConnect: If nothing was sent.
            Interrupted: If the end of the answer was not seen.
            DeadlinePassed: If the time is over.
        """


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked about one run.

    Attributes:
        run_id: The run's id.
        request: Makes the request's text, given how many bytes of stdout and stderr are here already.
        command: What is said of it in messages.
        repeats: Whether the same call names the same run again.
        starts: Whether it starts the run if there is none.
        wants: What the answer is to hold: the run's `end` with all its output, its output `so_far`, or `nothing` of it.
    """

    run_id: str
    request: Callable[[int, int], str]
    command: str
    repeats: bool
    starts: bool = True
    wants: Literal["end", "so_far", "nothing"] = "end"


def ask(
    line: Line,
    asking: Asking,
    output: Output,
    deadline: Deadline,
    retries: Retries,
    pause: Callable[[float, str], None],
) -> Receipt:
    """Ask until there is an answer that can be believed, and return its receipt.

    Args:
        line: The way to the login node.
        asking: What to ask.
        output: Takes in what comes of the run; it goes on where it got to.
        deadline: By when.
        retries: How to try again.
        pause: Waits that many seconds, and is told why.

    Raises:
        CredentialsError: If nothing was ever sent for lack of credentials.
        CannotConnect: If nothing was ever sent.
        LoginNodeBusy: If there was no room on the login node until the deadline.
        UnknownRun: If the run is asked for by its id alone, and there is none.
        OutcomeUnknown: If something was sent, and its outcome is not known by the deadline; or if it is `lost`.
    """
    return _Asker(line, asking, output, deadline, retries, pause).ask()


@dataclass(frozen=True, slots=True)
class _Unknown:
    """An error in the making: what had arrived is put in only if it is raised."""

    kind: type[OutcomeUnknown]
    problem: str
    cause: Exception | None = None


class _Asker:
    """One call's tries, and what is known of them."""

    def __init__(
        self,
        line: Line,
        asking: Asking,
        output: Output,
        deadline: Deadline,
        retries: Retries,
        pause: Callable[[float, str], None],
    ) -> None:
        self._line = line
        self._asking = asking
        self._output = output
        self._deadline = deadline
        self._pause = pause
        self._tries = Tries(retries, deadline)
        self._trouble: RaijinError | _Unknown | None = None
        self._may_run = False
        self._invalid = 0

    def ask(self) -> Receipt:
        """Ask until there is an answer, or no time left."""
        while True:
            before = self._output.offsets
            at_least_s = 0.0
            try:
                receipt = self._answer()
                if receipt is not None and receipt.outcome != "busy":
                    return receipt
                at_least_s = (receipt.retry_after_s or 0.0) if receipt else 0.0
            except DeadlinePassed as error:
                self._may_run = self._may_run or error.sent
                self._raise_timeout()
            except (CannotConnect, CredentialsError) as error:
                self._trouble = error
                if not error.retryable:
                    self._give_up()
            except Interrupted as error:
                self._may_run = True
                self._trouble = _Unknown(ConnectionLost, f"{error} before its end was seen", error)
            if self._output.offsets != before:
                self._tries.heard()
                self._invalid = 0
            self._wait(at_least_s)

    def _answer(self) -> Receipt | None:
        """Ask once; return what is final, or `busy`, or None if it must be asked again and `_trouble` says why.

        An answer without a receipt of this run is none: an exit status alone is never believed.
        """
        asking, output, before = self._asking, self._output, self._output.offsets
        status = self._line.exchange(asking.request(*before), output, self._deadline)
        said, receipt = take_receipt(output.held, asking.run_id)
        if receipt is None and status > _KILLED:  # as a shell reports a dispatcher that was killed
            raise Interrupted(f"the dispatcher ended with status {status}")
        if receipt is None:
            # What came was not the run's, then, and cannot be taken back: what came next would be added to it.
            return self._ask_again_unless_invalid(
                f"it ended with status {status} and without a receipt: is the forced command in authorized_keys right?",
                hopeless=output.offsets != before,
            )
        if receipt.outcome == "busy":
            self._trouble = LoginNodeBusy(
                f"the login node has no room for {shown(asking.command)} now: this request started nothing, try again later",
                run_id=asking.run_id,
                retry_after_s=receipt.retry_after_s,
            )
            return receipt
        if receipt.outcome == "refused":
            return self._refused(receipt, said)
        if receipt.status is None and status == FAILED and receipt.outcome == "running":
            return self._ask_again_of_the_run(said)
        output.add_stderr(said)
        if asking.wants == "nothing" or (asking.wants == "so_far" and receipt.outcome not in _FINAL):
            return receipt
        return self._ended(receipt, status)

    def _ended(self, receipt: Receipt, status: int) -> Receipt | None:
        """Return the receipt if it is of a run that has ended, and all of its output is here.

        Raises:
            RunLost: If nobody knows how it ended.
        """
        if receipt.outcome not in _FINAL:  # the answer ended before the run: the login node ends what runs long there
            return self._ask_again_of_the_run(b"")
        if self._asking.wants == "end" and status != (FAILED if receipt.status is None else receipt.status):
            return self._ask_again_unless_invalid(
                f"its status {status} is not its receipt's, {receipt.outcome} {receipt.status}"
            )
        stored, here = (receipt.stdout_stored, receipt.stderr_stored), self._output.offsets
        if any(there is not None and there != got for there, got in zip(stored, here, strict=True)):
            return self._ask_again_unless_invalid(
                f"of {stored} bytes on stdout and stderr came {here}: does something there write before the dispatcher "
                "(~/.bashrc)?"
            )
        if receipt.outcome == "lost":
            raise self._error(_Unknown(RunLost, "it was started, and gives no sign of life any more"))
        return receipt

    def _refused(self, receipt: Receipt, said: bytes) -> Receipt | None:
        """Tell whether a refusal is the run's fate, or only this request's."""
        words = " ".join(said.decode("utf-8", "replace").split())
        if not self._asking.starts and not receipt.replayed:
            if receipt.status == NOT_FOUND:
                raise UnknownRun(
                    f"the login node has no run {self._asking.run_id} of this key's: check the id, and the key ({words[:300]})",
                    run_id=self._asking.run_id,
                )
            raise self._error(_Unknown(InvalidAnswer, f"the login node refuses to tell of it: {words[:300]}"))
        # Only a run's own receipt has sizes, and `replayed` without them says that the id is another request's for good.
        is_fate = receipt.replayed or receipt.stdout_stored is not None
        if not is_fate and receipt.status == FAILED:  # the dispatcher itself failed, wherever it had got to
            return self._ask_again_of_the_run(said)
        if not is_fate and (self._may_run or self._asking.repeats) and not self._was_never_claimed():
            self._may_run = True
            return self._ask_again_of_the_run(said)
        self._output.add_stderr(said)
        return receipt

    def _ask_again_of_the_run(self, said: bytes) -> Receipt | None:
        """Have it asked again, because the dispatcher could not tell how the run stands. Its words are not the run's."""
        self._may_run = True
        words = " ".join(said.decode("utf-8", "replace").split())
        self._trouble = _Unknown(
            ConnectionLost,
            f"the login node refuses to tell of it: {words[:300]}"
            if words
            else "the login node stopped telling of it before its end",
        )
        return None

    def _was_never_claimed(self) -> bool:
        """Ask whether an earlier try or call has started the run: what refuses now may not have stood then."""
        found = Output()
        self._line.exchange(f"--result {self._asking.run_id} --detach", found, self._deadline)
        receipt = take_receipt(found.held, self._asking.run_id)[1]
        return receipt is not None and receipt.outcome == "refused" and receipt.status == NOT_FOUND

    def _ask_again_unless_invalid(self, problem: str, *, hopeless: bool = False) -> Receipt | None:
        """Have it asked again after an answer that is not the dispatcher's, unless that was so too often in a row."""
        self._may_run = True
        self._invalid += 1
        self._trouble = _Unknown(InvalidAnswer, f"the login node's answer is not the dispatcher's: {problem}")
        if hopeless or self._invalid >= _INVALID_ANSWERS:
            self._give_up()
        return None

    def _wait(self, at_least_s: float) -> None:
        pause_s = self._tries.pause_s(at_least_s=at_least_s)
        if pause_s is None:
            self._give_up()
        why = self._trouble.problem if isinstance(self._trouble, _Unknown) else str(self._trouble)
        self._pause(max(pause_s, self._deadline.within(_politeness.take_s())), why)

    def _give_up(self) -> NoReturn:
        """Raise what stands in the way; if the run may have started, as an outcome that is not known."""
        trouble = self._trouble
        assert trouble is not None  # noqa: S101 - what led here
        if isinstance(trouble, _Unknown):
            raise self._error(trouble) from trouble.cause
        if self._may_run:
            raise self._error(_Unknown(ConnectionLost, str(trouble))) from trouble
        raise trouble

    def _raise_timeout(self) -> NoReturn:
        if self._may_run:
            raise self._error(
                _Unknown(CommandTimeout, "it had not ended when the time for it was over, and it goes on")
            )
        if self._trouble is not None:
            self._give_up()
        raise CommandTimeout(
            f"no time was left to send {shown(self._asking.command)}: nothing was sent",
            command=self._asking.command,
            run_id=self._asking.run_id,
            retryable=True,
        )

    def _error(self, unknown: _Unknown) -> OutcomeUnknown:
        run_id = self._asking.run_id
        return unknown.kind(
            f"the outcome of {shown(self._asking.command)} is unknown: {unknown.problem}; its run id is {run_id}: "
            f"session.result({run_id!r}) or inv result {run_id} asks again, and never runs it twice",
            command=self._asking.command,
            run_id=run_id,
            stdout=self._output.stdout.text(),
            stderr=self._output.stderr.text(),
            retryable=self._asking.repeats and unknown.kind is not RunLost,
        )


def ask_question(
    line: Line,
    question: str,
    make_output: Callable[[], Output],
    deadline: Deadline,
    retries: Retries,
    pause: Callable[[float], None],
) -> tuple[Output, int]:
    """Ask what runs nothing until there is an answer; return its output and exit status. Each try begins anew.

    Args:
        line: The way to the login node.
        question: The request.
        make_output: Makes what takes in an answer.
        deadline: By when.
        retries: How to try again.
        pause: Waits.

    Raises:
        CredentialsError: If nothing was sent for lack of credentials.
        CannotConnect: If nothing was sent.
        OutcomeUnknown: If there was no answer by the deadline.
    """
    tries = Tries(retries, deadline)
    while True:
        output = make_output()
        try:
            return output, line.exchange(question, output, deadline)
        except DeadlinePassed:
            raise CommandTimeout(
                f"{shown(question)} was not answered when the time for it was over", command=question, retryable=True
            ) from None
        except Interrupted as error:
            trouble: RaijinError = ConnectionLost(
                f"{error} before {shown(question)} was answered", command=question, retryable=True
            )
            trouble.__cause__ = error
        except (CannotConnect, CredentialsError) as error:
            if not error.retryable:
                raise
            trouble = error
        pause_s = tries.pause_s()
        if pause_s is None:
            raise trouble
        pause(max(pause_s, deadline.within(_politeness.take_s())))
