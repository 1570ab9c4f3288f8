"""Performs what a session is called for: asks until the outcome is known, makes the result, logs it.

What is asked is the session's to say, and when an answer is believed that of `dea.raijin.runs`.
"""

from __future__ import annotations

import logging
import time

from dea.raijin.calls import check_text
from dea.raijin.destinations import Destination
from dea.raijin.errors import IncompleteOutput, RequestRefused, StillRunning
from dea.raijin.result import CommandResult, result_of
from dea.raijin.retry import Deadline, Retries
from dea.raijin.runs import Asking, Line, ask, ask_question
from dea.raijin.streams import OnOutput, Output
from dea.remote.contract import Receipt, Refusal, parse_request

_LOGGED_CHARACTERS = 8192


class Performer:
    """Performs the calls of one session.

    Args:
        line: The way to the login node and back.
        retries: How to try again.
        logger: Where results are logged.
    """

    def __init__(self, line: Line, retries: Retries, logger: logging.Logger) -> None:
        self.line = line
        self.retries = retries
        self._logger = logger

    def perform(
        self,
        asking: Asking,
        deadline: Deadline,
        max_output: int | None,
        on_output: OnOutput | None = None,
        stdout_to: Destination | None = None,
    ) -> CommandResult:
        """Ask for a run's end and all of its output.

        Raises:
            StillRunning: If the run has not ended, and that is an answer.
            IncompleteOutput: If not all of stdout came for `stdout_to`.
            RaijinError: As `dea.raijin.runs.ask`.
        """
        begin = time.monotonic()
        output = Output(max_output, on_output, stdout_to)
        try:
            receipt = self._ask(asking, output, deadline)
            result = self._result(output, _status(receipt, asking, output), asking.command, begin, receipt)
            if stdout_to is not None and result.outcome != "refused":
                if result.stdout_bytes != output.stdout.total_bytes:
                    raise IncompleteOutput(
                        f"of the {result.stdout_bytes} bytes that run {asking.run_id} wrote to stdout the login node keeps"
                        f" {output.stdout.total_bytes}: nothing was put where stdout was to go; the run itself has ended"
                        f" ({result.outcome}, exit status {result.exit_code})",
                        asking.run_id,
                        result,
                    )
                stdout_to.commit()
                stdout_to = None
        finally:
            if stdout_to is not None:
                stdout_to.abort()
        return result

    def begin(self, asking: Asking, deadline: Deadline) -> CommandResult | None:
        """Have a run started; return None, or the result of a request that was refused.

        Raises:
            RaijinError: As `dea.raijin.runs.ask`.
        """
        began = time.monotonic()
        output = Output()
        receipt = self._ask(asking, output, deadline)
        replays_run = receipt.replayed and receipt.stdout_stored is not None  # and is no refusal of this request
        if receipt.outcome != "refused" or replays_run or receipt.status is None:
            return None
        return self._result(output, receipt.status, asking.command, began, receipt)

    def look(self, asking: Asking, deadline: Deadline) -> Receipt:
        """Ask where a run stands.

        Raises:
            RaijinError: As `dea.raijin.runs.ask`.
        """
        return self._ask(asking, Output(), deadline)

    def ask(self, question: str, deadline: Deadline, max_output: int | None) -> CommandResult:
        """Ask what runs nothing; a lost answer is asked for again.

        Raises:
            RequestRefused: If it cannot be sent, or is about one run.
            RaijinError: As `dea.raijin.runs.ask_question`.
        """
        check_text(question)
        try:
            names_run = parse_request(question.encode()).run_id is not None
        except Refusal:
            names_run = False  # the login node says what is wrong with it
        if names_run:
            raise RequestRefused(
                f"{question[:80]!r} is about one run: give its id as run_id=, or use result, cancel or rerun of the session"
            )
        begin = time.monotonic()
        output, exit_code = ask_question(
            self.line, question, lambda: Output(max_output, has_receipt=False), deadline, self.retries, time.sleep
        )
        return self._result(output, exit_code, question, begin, None)

    def _ask(self, asking: Asking, output: Output, deadline: Deadline) -> Receipt:
        def pause(seconds: float, why: str) -> None:
            fields = {
                "run_id": asking.run_id,
                "command": asking.command[:_LOGGED_CHARACTERS],
                "pause_s": round(seconds, 3),
            }
            self._logger.info("asking again: %s", why[:_LOGGED_CHARACTERS], extra=fields)
            time.sleep(seconds)

        return ask(self.line, asking, output, deadline, self.retries, pause)

    def _result(
        self, output: Output, exit_code: int, command: str, begin: float, receipt: Receipt | None
    ) -> CommandResult:
        duration_s = time.monotonic() - begin
        result = result_of(output, exit_code, command=command, duration_s=duration_s, receipt=receipt)
        self._log(result)
        return result

    def _log(self, result: CommandResult) -> None:
        fields = {
            "command": result.command[:_LOGGED_CHARACTERS],
            "run_id": result.run_id,
            "exit_code": result.exit_code,
            "duration_s": round(result.duration_s, 3),
        }
        if result.stdout:
            self._logger.debug("stdout: %s", _logged(result.stdout), extra=fields)
        if not result.ok:
            self._logger.error("exit status %d, stderr: %s", result.exit_code, _logged(result.stderr), extra=fields)
        elif result.stderr:
            self._logger.warning("stderr: %s", _logged(result.stderr), extra=fields)


def _status(receipt: Receipt, asking: Asking, output: Output) -> int:
    """Return the exit status of a run that has ended.

    Raises:
        StillRunning: If it has not.
    """
    if receipt.status is None:
        raise StillRunning(
            f"run {asking.run_id} has not ended yet: ask again later",
            command=asking.command,
            run_id=asking.run_id,
            stdout=output.stdout.text(),
            stderr=output.stderr.text(),
            retryable=True,
        )
    return receipt.status


def _logged(output: str) -> str:
    return output.rstrip("\n")[:_LOGGED_CHARACTERS]
