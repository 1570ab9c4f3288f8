r"""A session for a function's own tests: answers without a login node, and remembers what it was asked.

command = ExampleCommand()
command.raijin = FakeSession({"example": ("one\ntwo\n", "", 0)})
assert command.run() == {"commands": ["one", "two"]}
assert command.raijin.requests == ["example"]
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping

from dea.raijin.exchange import Receiver
from dea.raijin.retry import Deadline, Retries
from dea.raijin.run_ids import RunIds
from dea.raijin.session import RaijinSession
from dea.remote.contract import NOT_FOUND, REFUSED, Receipt, Refusal, Request, join, parse_request

_NO_COMMAND = ("", "dea-remote: there is no such command\n", NOT_FOUND)
_NO_RUN = ("", "dea-remote: there is no such run\n", NOT_FOUND)
_TIME = "2026-01-01T00:00:00.000Z"

Answer = tuple[str, str, int]


class FakeSession(RaijinSession):
    """A `RaijinSession` that never connects. What it starts ends at once; the same run id gives the same result again.

    Args:
        answers: For each request, or for the name that it begins with, its `(stdout, stderr, exit_code)`; an exception is
            raised. What is in neither form is answered as the login node answers an unknown name: 127.
        run_ids: As for `RaijinSession`.

    Attributes:
        requests: What was asked so far: the text of each request, without the run's id; `--result ID` and the like for what
            was asked about a run.
        run_ids_used: The id of each run that was started, in order.
    """

    def __init__(self, answers: Mapping[str, Answer | Exception], *, run_ids: RunIds | None = None) -> None:
        super().__init__(retries=Retries(give_up_s=0.0), run_ids=run_ids)
        line = _FakeLine(answers)
        self.requests: list[str] = line.requests
        self.run_ids_used: list[str] = line.run_ids
        self._performer.line = line

    def connect(self) -> None:
        """Do nothing."""


class _FakeLine:
    """A login node that has its answers beforehand, and remembers its runs."""

    def __init__(self, answers: Mapping[str, Answer | Exception]) -> None:
        self.requests: list[str] = []
        self.run_ids: list[str] = []
        self._answers = answers
        self._runs: dict[str, tuple[str, Answer, int]] = {}
        self._one_at_a_time = threading.Lock()

    def exchange(self, request: str, receiver: Receiver, deadline: Deadline) -> int:  # noqa: ARG002 - answers at once
        """Answer as the login node does."""
        receiver.begin_answer()
        try:
            parsed = parse_request(request.encode())
        except Refusal as refusal:
            parsed = Request("", run_id=refusal.run_id)
        with self._one_at_a_time:
            if parsed.run_id is None:
                self.requests.append(request)
                stdout, stderr, status = self._history() if parsed.question == "--history" else self._answer(request)
                record = b""
            else:
                (stdout, stderr, status), receipt = self._about_run(request, parsed, parsed.run_id)
                record = receipt.encode()
        receiver.take_stdout(stdout.encode()[parsed.from_stdout :])
        receiver.take_stderr(stderr.encode()[parsed.from_stderr :] + record)
        return 0 if parsed.detach or parsed.verb == "--cancel" else status

    def _about_run(self, request: str, parsed: Request, run_id: str) -> tuple[Answer, Receipt]:
        replayed = run_id in self._runs
        if parsed.verb in ("--result", "--cancel"):
            self.requests.append(f"{parsed.verb} {run_id}")
            if not replayed:
                return _NO_RUN, _receipt(run_id, "refused", _NO_RUN)
        elif parsed.rerun_of is not None:
            self.requests.append(f"--rerun {parsed.rerun_of}")
            if parsed.rerun_of not in self._runs:
                return _NO_RUN, _receipt(run_id, "refused", _NO_RUN)
            if not replayed:
                text, _, attempt = self._runs[parsed.rerun_of]
                self._start(run_id, text, attempt + 1)
        else:
            text = join([parsed.name, *parsed.arguments]) if parsed.name else request
            text = _without_options(request, text)
            self.requests.append(text)
            if not replayed:
                self._start(run_id, text, 1)
            elif self._runs[run_id][0] != text:
                other = ("", f"dea-remote: run {run_id} was claimed for another request\n", REFUSED)
                return other, _receipt(run_id, "refused", other, replayed=True)
        _, answer, attempt = self._runs[run_id]
        outcome = "refused" if answer[1].startswith("dea-remote: ") else "exited"
        hidden = parsed.verb == "--cancel" or (parsed.detach and parsed.verb != "--result" and outcome != "refused")
        receipt = _receipt(run_id, outcome, answer, attempt=attempt, replayed=replayed)
        return (("", "", answer[2]) if hidden else answer), receipt

    def _start(self, run_id: str, text: str, attempt: int) -> None:
        self.run_ids.append(run_id)
        self._runs[run_id] = (text, self._answer(text), attempt)

    def _answer(self, request: str) -> Answer:
        answer = self._answers.get(request, self._answers.get(request.split(" ", maxsplit=1)[0], _NO_COMMAND))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _history(self) -> Answer:
        runs = [
            {
                "run_id": run_id, "attempt": attempt, "attempt_of": None, "key": "fake", "command": text.split(" ")[0],
                "arguments": text.split(" ")[1:], "outcome": "exited", "status": answer[2], "received": _TIME,
                "started": _TIME, "ended": _TIME, "duration_s": 0.0, "stdout_bytes": len(answer[0].encode()),
                "stderr_bytes": len(answer[1].encode()),
            }
            for run_id, (text, answer, attempt) in reversed(self._runs.items())
        ]  # fmt: skip
        return json.dumps({"runs": runs}), "", 0


def _without_options(request: str, normal: str) -> str:
    """Return a request's text from the command's name on, as it was written."""
    words = request.split(" ")
    at = 0
    while at < len(words) and words[at].startswith("--"):
        at += 1 if words[at] == "--detach" else 2
    return " ".join(words[at:]) or normal


def _receipt(run_id: str, outcome: str, answer: Answer, *, attempt: int = 1, replayed: bool = False) -> Receipt:
    ran = outcome == "exited"
    stdout_bytes, stderr_bytes = (len(answer[0].encode()), len(answer[1].encode())) if ran else (None, None)
    return Receipt(
        run_id,
        outcome,
        answer[2],
        received=_TIME,
        started=_TIME if ran else None,
        ended=_TIME if ran else None,
        stdout_bytes=stdout_bytes,
        stderr_bytes=stderr_bytes,
        stdout_stored=stdout_bytes,
        stderr_stored=stderr_bytes,
        children=0 if ran else None,
        version="fake",
        attempt=attempt,
        attempts=attempt,
        replayed=replayed,
    )
