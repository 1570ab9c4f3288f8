"""Asking for a run's outcome: what each kind of answer leads to. The line is the test's, so each answer can be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from dea.raijin import (
    CommandFailed,
    CommandResult,
    CommandTimeout,
    ConnectionClosed,
    ConnectionLost,
    IncompleteOutput,
    InvalidAnswer,
    LoginNodeBusy,
    OutcomeUnknown,
    RaijinSession,
    RequestRefused,
    Retries,
    RunLost,
    StillRunning,
    ToFile,
    UnknownRun,
    random_run_id,
)
from dea.raijin.exchange import DeadlinePassed, Interrupted, Receiver
from dea.raijin.retry import Deadline
from dea.remote.contract import Receipt

RUN_ID = "a-run-id-of-a-test"
CLOSED = ConnectionClosed("closed", "raijin", 22)


def receipt(outcome: str = "exited", status: int | None = 0, **facts: object) -> Receipt:
    return Receipt(RUN_ID, outcome, status, received="t", version="1", **facts)  # type: ignore[arg-type]


def of_run(stdout: bytes, stderr: bytes, outcome: str = "exited", status: int | None = 0) -> Receipt:
    """Return the receipt of a run that wrote this."""
    sizes = {"stdout_bytes": len(stdout), "stdout_stored": len(stdout), "stderr_bytes": len(stderr)}
    return receipt(outcome, status, **sizes, stderr_stored=len(stderr), children=0)


@dataclass
class Line:
    """Gives the answers that a test has prepared, one after the other."""

    answers: list[Callable[[Receiver], int] | Exception]
    requests: list[str] = field(default_factory=list)

    def exchange(self, request: str, receiver: Receiver, deadline: Deadline) -> int:
        self.requests.append(request)
        if deadline.passed:
            raise DeadlinePassed(sent=False)
        answer = self.answers.pop(0)
        receiver.begin_answer()
        if isinstance(answer, Exception):
            raise answer
        return answer(receiver)


def answer(
    stdout: bytes = b"", stderr: bytes = b"", told: Receipt | None = None, status: int = 0, breaks: bool = False
) -> Callable[[Receiver], int]:
    """Return an answer: some output, a receipt, a status; or output and then nothing more."""

    def give(receiver: Receiver) -> int:
        receiver.take_stdout(stdout)
        receiver.take_stderr(stderr + (told.encode() if told else b""))
        if breaks:
            raise Interrupted("the connection broke")
        return status

    return give


def session_on(*answers: Callable[[Receiver], int] | Exception, give_up_s: float = 60.0) -> tuple[RaijinSession, Line]:
    session = RaijinSession(retries=Retries(base_s=0.0, cap_s=0.0, give_up_s=give_up_s))
    line = Line(list(answers))
    session._performer.line = line
    return session, line


def run(session: RaijinSession, **options: object) -> CommandResult:
    return session.exec_command("probe x", run_id=RUN_ID, **options)  # type: ignore[arg-type]


def test_what_has_arrived_is_not_asked_for_again() -> None:
    session, line = session_on(
        answer(b"one", b"er", breaks=True),
        CLOSED,
        answer(b"two", b"r", of_run(b"onetwo", b"err")),
    )
    result = run(session)
    assert tuple(result) == ("onetwo", "err", 0)
    again = f"--run-id {RUN_ID} --from-stdout 3 --from-stderr 2 probe x"
    assert line.requests == [f"--run-id {RUN_ID} probe x", again, again]


def test_a_receipt_that_broke_off_counts_for_nothing() -> None:
    told = of_run(b"", b"err", status=3)
    whole = b"err" + told.encode()
    session, line = session_on(answer(stderr=whole[:-2], breaks=True), answer(b"", b"", told, status=3))
    assert tuple(run(session)) == ("", "err", 3)
    assert line.requests[1] == f"--run-id {RUN_ID} --from-stdout 0 --from-stderr 3 probe x"


def test_a_status_without_a_receipt_is_not_believed() -> None:
    session, line = session_on(answer(status=0), answer(b"x", b"", of_run(b"x", b"")))
    assert run(session).stdout == "x"
    assert len(line.requests) == 2


def test_a_receipt_of_another_run_is_none() -> None:
    other = Receipt("another-run-id", "exited", 0, received="t", version="1")
    session, _ = session_on(*(answer(told=other) for _ in range(9)))
    with pytest.raises(InvalidAnswer, match="without a receipt"):
        run(session)


def test_a_forged_receipt_before_a_clean_end_does_not_pass_for_a_status() -> None:
    """The command prints one for status 0; the channel's own status is that of a dispatcher that was killed."""
    session, line = session_on(
        answer(told=of_run(b"", b""), status=137), answer(told=of_run(b"", b"", status=9), status=9)
    )
    assert run(session).exit_code == 9
    assert len(line.requests) == 2


def test_output_that_is_not_all_there_is_not_taken_for_all() -> None:
    session, line = session_on(answer(b"a", b"", of_run(b"ab", b"")), answer(b"b", b"", of_run(b"ab", b"")))
    assert run(session).stdout == "ab"
    assert "--from-stdout 1 " in line.requests[1]


def test_what_is_no_dispatcher_is_not_asked_for_ever() -> None:
    session, line = session_on(*(answer(status=127) for _ in range(9)))
    with pytest.raises(InvalidAnswer, match="is the forced command in authorized_keys right"):
        run(session)
    assert len(line.requests) == 4
    session, line = session_on(answer(stderr=b"bash: python3: not found\n", status=127))
    with pytest.raises(InvalidAnswer, match="is the forced command in authorized_keys right") as raised:
        run(session)
    assert raised.value.stderr == "bash: python3: not found\n"
    assert (raised.value.run_id, raised.value.retryable) == (RUN_ID, True)


def test_a_dispatcher_that_was_killed_under_a_shell_is_asked_again() -> None:
    session, line = session_on(answer(b"a", status=137), answer(b"b", b"", of_run(b"ab", b"")))
    assert run(session).stdout == "ab"
    assert "--from-stdout 1 " in line.requests[1]


def test_busy_is_tried_again_and_its_words_are_no_output() -> None:
    busy = answer(b"", b"dea-remote: no room\n", receipt("busy", 75, retry_after_s=0.01), status=75)
    session, line = session_on(busy, busy, answer(b"x", b"e", of_run(b"x", b"e")))
    assert tuple(run(session)) == ("x", "e", 0)
    assert line.requests == [f"--run-id {RUN_ID} probe x"] * 3


def test_busy_until_the_deadline_is_an_error_of_its_own() -> None:
    session, _ = session_on(*(answer(told=receipt("busy", 75, retry_after_s=30), status=75) for _ in range(3)))
    with pytest.raises(LoginNodeBusy, match="this request started nothing") as raised:
        run(session, timeout=5.0)
    assert (raised.value.retryable, raised.value.run_id, raised.value.retry_after_s) == (True, RUN_ID, 30)


def test_a_refusal_is_a_result_with_its_words_on_stderr() -> None:
    words = answer(b"", b"dea-remote: no command probe\n", receipt("refused", 127), status=127)
    unknown = answer(b"", b"dea-remote: there is no run\n", receipt("refused", 127), status=127)
    session, _ = session_on(words, unknown)
    result = run(session)
    assert tuple(result) == ("", "dea-remote: no command probe\n", 127)
    assert result.outcome == "refused"


def test_a_refusal_after_a_lost_answer_is_the_fate_only_if_nothing_was_claimed() -> None:
    """What refuses now (a full disk, say) need not have stood when the request came first, which may have started the run."""
    refused = answer(b"", b"dea-remote: the disk is full\n", receipt("refused", 126), status=126)
    there = answer(told=receipt("running", None))
    session, line = session_on(answer(breaks=True), refused, there, answer(b"x", b"", of_run(b"x", b"")))
    assert tuple(run(session)) == ("x", "", 0)
    assert line.requests[2] == f"--result {RUN_ID} --detach"
    unknown = answer(b"", b"dea-remote: there is no run\n", receipt("refused", 127), status=127)
    session, line = session_on(answer(breaks=True), refused, unknown)
    assert tuple(run(session)) == ("", "dea-remote: the disk is full\n", 126)


def test_a_refusal_of_an_id_that_may_have_been_used_before_is_the_fate_only_if_nothing_was_claimed() -> None:
    """The process that sent the same request before is gone, and with it the knowledge that the run was started."""
    refused = answer(b"", b"dea-remote: the disk is full\n", receipt("refused", 126), status=126)
    there = answer(told=receipt("running", None))
    session, line = session_on(refused, there, answer(b"x", b"", of_run(b"x", b"")))
    assert tuple(run(session)) == ("x", "", 0)
    assert line.requests[1] == f"--result {RUN_ID} --detach"


def test_a_new_random_id_is_not_asked_for() -> None:
    session, line = session_on()
    line.answers.append(lambda receiver: refuse_whichever(line, receiver))
    assert session.exec_command("probe x").exit_code == 126
    assert len(line.requests) == 1


def refuse_whichever(line: Line, receiver: Receiver) -> int:
    run_id = line.requests[0].split()[1]
    receiver.take_stderr(Receipt(run_id, "refused", 126, received="t", version="1").encode())
    return 126


def test_another_requests_id_is_a_refusal_for_good() -> None:
    session, line = session_on(
        answer(b"", b"dea-remote: claimed\n", receipt("refused", 126, replayed=True), status=126)
    )
    assert tuple(run(session)) == ("", "dea-remote: claimed\n", 126)
    assert len(line.requests) == 1
    session, line = session_on(
        answer(b"", b"dea-remote: claimed\n", receipt("refused", 126, replayed=True), status=126)
    )
    with pytest.raises(CommandFailed, match="dea-remote: claimed"):
        session.start("probe x", run_id=RUN_ID)


def test_a_dispatcher_that_failed_has_not_said_what_became_of_the_run() -> None:
    failed = answer(b"", b"dea-remote: the dispatcher itself failed\n", receipt("refused", 125), status=125)
    session, line = session_on(failed, answer(b"x", b"", of_run(b"x", b"")))
    assert tuple(run(session)) == ("x", "", 0)
    assert len(line.requests) == 2
    recorded = of_run(b"", b"", "refused", 125)  # by who was to start it: nothing ran, and nothing ever will
    session, line = session_on(answer(told=recorded, status=125))
    assert (run(session).exit_code, len(line.requests)) == (125, 1)


def test_what_cannot_be_told_of_a_run_is_asked_for_again_and_is_no_output() -> None:
    untold = answer(b"", b"dea-remote: it is there\n", receipt("running", None), status=125)
    session, _ = session_on(untold, answer(b"x", b"", of_run(b"x", b"")))
    assert tuple(run(session)) == ("x", "", 0)
    session, line = session_on(untold, answer(told=receipt("running", None)))
    assert session.start("probe x", run_id=RUN_ID) == RUN_ID
    assert len(line.requests) == 2
    session, _ = session_on(untold, give_up_s=0.0)
    with pytest.raises(ConnectionLost, match="refuses to tell of it: dea-remote: it is there"):
        run(session)


def test_an_answer_that_ends_before_the_run_is_followed_up() -> None:
    session, line = session_on(
        answer(b"a", b"", receipt("running", None), status=125), answer(b"b", b"", of_run(b"ab", b""))
    )
    assert run(session).stdout == "ab"
    assert len(line.requests) == 2


def test_lost_is_neither_success_nor_failure_and_keeps_what_there_is() -> None:
    session, _ = session_on(answer(b"begun", b"", of_run(b"begun", b"", "lost", None), status=125))
    with pytest.raises(RunLost, match="no sign of life") as raised:
        run(session)
    assert (raised.value.stdout, raised.value.run_id, raised.value.retryable) == ("begun", RUN_ID, False)


def test_nothing_sent_is_the_connections_own_error() -> None:
    session, _ = session_on(CLOSED, CLOSED, give_up_s=0.0)
    with pytest.raises(ConnectionClosed):
        run(session)


def test_something_sent_is_unknown_and_says_how_to_ask_again() -> None:
    session, _ = session_on(answer(b"a", breaks=True), CLOSED, CLOSED, give_up_s=0.0)
    with pytest.raises(
        ConnectionLost, match=rf"session\.result\('{RUN_ID}'\) or inv result {RUN_ID} asks again"
    ) as raised:
        run(session)
    assert (raised.value.stdout, raised.value.run_id, raised.value.retryable) == ("a", RUN_ID, True)


def test_an_id_drawn_at_random_makes_no_repetition_safe() -> None:
    session, _ = session_on(answer(breaks=True), give_up_s=0.0)
    with pytest.raises(ConnectionLost) as raised:
        session.exec_command("probe x")
    assert not raised.value.retryable
    session, _ = session_on(answer(breaks=True), give_up_s=0.0)
    session.run_ids = random_run_id
    with pytest.raises(ConnectionLost) as raised:
        session.exec_command("probe x")
    assert not raised.value.retryable
    session, _ = session_on(answer(breaks=True), give_up_s=0.0)
    session.run_ids = lambda key, /: f"derived-{key}"
    with pytest.raises(ConnectionLost) as raised:
        session.exec_command("probe x", key="k")
    assert (raised.value.retryable, raised.value.run_id) == (True, "derived-k")

    class Unrepeatable:
        repeatable = False

        def __call__(self, key: str | None, /) -> str:
            return "new-each-time"

    session, _ = session_on(answer(breaks=True), give_up_s=0.0)
    session.run_ids = Unrepeatable()
    with pytest.raises(ConnectionLost) as raised:
        session.exec_command("probe x")
    assert (raised.value.retryable, raised.value.run_id) == (False, "new-each-time")


def test_an_id_is_never_taken_for_an_option() -> None:
    assert all(random_run_id().startswith("run-") for _ in range(100))


def test_without_time_left_nothing_is_sent() -> None:
    session, line = session_on()
    session.remaining_s = lambda: 0.0
    with pytest.raises(CommandTimeout, match="nothing was sent") as raised:
        run(session)
    assert raised.value.retryable
    assert line.requests == [f"--run-id {RUN_ID} probe x"]  # the line itself refused to send it


def test_the_deadline_in_mid_run_carries_what_came() -> None:
    session, _ = session_on(answer(b"a", breaks=True), DeadlinePassed(sent=True))
    with pytest.raises(CommandTimeout, match="it goes on") as raised:
        run(session, timeout=30.0)
    assert raised.value.stdout == "a"


def test_result_asks_by_the_id_alone() -> None:
    session, line = session_on(answer(b"a", breaks=True), answer(b"b", b"", of_run(b"ab", b"")))
    assert session.result(RUN_ID).stdout == "ab"
    assert line.requests[1] == f"--result {RUN_ID} --from-stdout 1 --from-stderr 0"


def test_result_of_a_run_that_is_not_there() -> None:
    session, _ = session_on(answer(b"", b"dea-remote: there is no run\n", receipt("refused", 127), status=127))
    with pytest.raises(UnknownRun, match="there is no run"):
        session.result(RUN_ID)


def test_a_refused_question_about_a_run_is_not_the_runs_fate() -> None:
    session, _ = session_on(answer(b"", b"dea-remote: no audit\n", receipt("refused", 126), status=126))
    with pytest.raises(InvalidAnswer, match="refuses to tell of it: dea-remote: no audit"):
        session.result(RUN_ID)


def test_result_without_waiting_says_that_it_runs_and_what_there_is() -> None:
    session, line = session_on(answer(b"so far", b"", receipt("running", None)))
    with pytest.raises(StillRunning) as raised:
        session.result(RUN_ID, wait=False)
    assert raised.value.stdout == "so far"
    assert line.requests == [f"--result {RUN_ID} --from-stdout 0 --from-stderr 0 --detach"]


def test_start_sends_no_output_and_gives_the_id() -> None:
    session, line = session_on(answer(told=receipt("running", None)))
    assert session.start("probe x", run_id=RUN_ID) == RUN_ID
    assert line.requests == [f"--run-id {RUN_ID} --detach probe x"]


def test_cancel_gives_where_the_run_stands() -> None:
    session, line = session_on(answer(told=receipt("cancelled", 143)))
    assert session.cancel(RUN_ID).outcome == "cancelled"
    assert line.requests == [f"--cancel {RUN_ID}"]


@pytest.mark.parametrize("request_text", ["probe 'x", "probe; rm", "probe \x07"])
def test_what_is_no_list_of_words_is_not_sent(request_text: str) -> None:
    session, line = session_on()
    with pytest.raises(RequestRefused):
        session.exec_command(request_text)
    assert line.requests == []


def test_a_question_is_sent_as_it_is_and_asked_again_from_the_beginning() -> None:
    session, line = session_on(answer(b"exam", breaks=True), answer(b"example\n"))
    result = session.exec_command("--list")
    assert (result.stdout, result.run_id, result.outcome) == ("example\n", None, None)
    assert line.requests == ["--list", "--list"]


@pytest.mark.parametrize("text", [f"--run-id {RUN_ID} probe", f"--result {RUN_ID}", f"--cancel {RUN_ID}"])
def test_a_runs_id_is_not_smuggled_into_the_text(text: str) -> None:
    session, _ = session_on()
    with pytest.raises(RequestRefused, match="give its id as run_id="):
        session.exec_command(text)


def test_what_the_callers_callback_raises_ends_the_call() -> None:
    def fail(name: str, data: bytes) -> None:
        raise KeyError(name)

    session, _ = session_on(answer(b"x", b"", of_run(b"x", b"")))
    with pytest.raises(KeyError, match="stdout"):
        run(session, on_output=fail)


def test_unknown_outcomes_are_one_kind_of_error() -> None:
    assert all(issubclass(kind, OutcomeUnknown) for kind in (ConnectionLost, CommandTimeout, InvalidAnswer, RunLost))


def test_output_that_is_not_all_kept_is_not_committed(tmp_path: Path) -> None:
    shortened = receipt("exited", 3, stdout_bytes=5, stdout_stored=2, stderr_bytes=0, stderr_stored=0)
    session, _ = session_on(answer(b"ab", b"", shortened, status=3))
    with pytest.raises(IncompleteOutput, match=r"of the 5 bytes .* keeps 2") as raised:
        run(session, stdout_to=ToFile(tmp_path / "output"))
    assert (raised.value.run_id, raised.value.result.exit_code, raised.value.retryable) == (RUN_ID, 3, False)
    assert list(tmp_path.iterdir()) == []
    session, _ = session_on(answer(b"ab", b"", of_run(b"ab", b"")))
    run(session, stdout_to=ToFile(tmp_path / "output"))
    assert (tmp_path / "output").read_bytes() == b"ab"


def attempt_asked_for(session: RaijinSession, line: Line, key: str | None = None) -> str:
    """Return the id that a rerun of the run asks for."""

    def give(receiver: Receiver) -> int:
        new = line.requests[-1].split()[1]
        receiver.take_stderr(Receipt(new, "exited", 0, received="t", version="1").encode())
        return 0

    line.answers = [answer(told=receipt("exited", 0, attempts=1)), give]
    return str(session.rerun(RUN_ID, key=key).run_id)


def test_a_retried_delivery_finds_the_attempt_of_the_first_try() -> None:
    session, line = session_on()
    session.run_ids = lambda key, /: "derived-" + sha256(str(key).encode()).hexdigest()[:20]
    first = attempt_asked_for(session, line)
    assert first.startswith("derived-")
    assert attempt_asked_for(session, line) == first
    assert attempt_asked_for(session, line, key="once more") != first


def test_a_person_gets_one_more_attempt_each_time() -> None:
    session, line = session_on()
    assert attempt_asked_for(session, line) == f"{RUN_ID}-a2"
