"""The session with the login node: what a function calls.

It puts together what the other modules do each for itself: connections, run ids, asking until the outcome is known.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

import paramiko

from dea.raijin.attempts import attempt_id
from dea.raijin.calls import Call, check_run, check_run_id
from dea.raijin.connection import Timeouts
from dea.raijin.connections import CHANNELS_PER_CONNECTION, MAX_CONNECTIONS, Connections
from dea.raijin.credentials_cache import cached_credentials
from dea.raijin.destinations import Destination
from dea.raijin.errors import RequestRefused, SchemaMismatch
from dea.raijin.history import RunRecord, parse_history
from dea.raijin.many import perform_all
from dea.raijin.performing import Performer
from dea.raijin.result import CommandResult
from dea.raijin.retry import Deadline, Retries
from dea.raijin.run_ids import RunIds, random_run_id
from dea.raijin.runs import Asking
from dea.raijin.schemas import Schema
from dea.raijin.streams import OnOutput
from dea.remote.contract import USAGE, Receipt, Refusal, join, parse_request

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

DEFAULT_MAX_OUTPUT_BYTES = 16 * 1024 * 1024

_BEYOND_BYTES = 2**62  # no output is that long: an answer from there on has none of it


@dataclass(frozen=True, slots=True)
class _Named:
    """A call whose run has its id."""

    call: Call
    run_id: str
    repeats: bool


class RaijinSession:
    """A session with the login node; a context manager.

    Args:
        user_path: The prefix of the SSM parameters' names; None for `DEA_RAIJIN_USER_PATH`, or else
            `orchestrator.raijin.users.default`. Another key is another prefix.
        timeouts: How long each step may take.
        retries: How to try again when the connection was lost or the login node is busy.
        ssm: The client of boto3 or botocore to read the credentials with; None for one with this process's AWS settings.
        logger: Where output and results are logged: stdout at DEBUG; stderr at WARNING when the command succeeded, at
            ERROR with the status when not. None for this module's own logger.
        run_ids: Makes the run ids of calls that do not bring one; None for ids drawn at random.
        remaining_s: Tells how many seconds there are left for any call, whatever its own timeout; None for no such end.

    Attributes:
        run_ids: As given; may be set anew between calls.
        remaining_s: As given; may be set anew between calls.

    It connects at the first use and stays connected until `close`. A connection that was kept is checked before anything is
    sent over it, and replaced if it is dead. The SSH agent and the local user's keys and known hosts are never used.

    Note:
        Each run has an id, and a request that is sent again, because its answer was lost, names the same run: it never runs
        twice. A session may be used from several threads.
    """

    def __init__(
        self,
        user_path: str | None = None,
        *,
        timeouts: Timeouts = Timeouts(),
        retries: Retries = Retries(),
        ssm: SSMClient | None = None,
        logger: logging.Logger | None = None,
        run_ids: RunIds | None = None,
        remaining_s: Callable[[], float] | None = None,
    ) -> None:
        self.run_ids = run_ids
        self.remaining_s = remaining_s
        self._timeouts = timeouts
        logger = logger or logging.getLogger(__name__)
        self._connections = Connections(cached_credentials(user_path, ssm=ssm), timeouts, logger)
        self._performer = Performer(self._connections, retries, logger)

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def ssh_client(self) -> paramiko.SSHClient:
        """The connected paramiko client; of one of them, if there are several connections."""
        return self._connections.client()

    def connect(self) -> None:
        """Connect and authenticate, unless connected. It tries once.

        Raises:
            CredentialsError: If the stored credentials are missing, denied or unusable.
            CannotConnect: If the login node cannot be reached, is not the right one, or does not let the user in.
        """
        self._connections.client()

    def close(self) -> None:
        """Close the connections; does nothing if there is none. Runs that have been started go on."""
        self._connections.close()

    def exec_command(
        self,
        command: str | Call,
        *,
        timeout: float | None = None,
        max_output: int | None = DEFAULT_MAX_OUTPUT_BYTES,
        run_id: str | None = None,
        key: str | None = None,
        on_output: OnOutput | None = None,
        stdout_to: Destination | None = None,
    ) -> CommandResult:
        """Run one command on the login node and wait for its end, over as many connections as it takes.

        Args:
            command: The request: a command's name and its arguments, quoted as for a shell (`dea.remote.contract.join`
                does it), which no shell reads; or a `Call`, which builds it.
            timeout: How many seconds this may take in all, connecting and retries included; None for as long as the run
                takes. When they are over, the run goes on: `result` gives its outcome.
            max_output: How much of each stream to keep in memory, in bytes: head and tail; the rest is counted. None for all.
            run_id: The run's id. If there is a run of that id, it is followed or its result returned; it never runs twice.
                None for the call's own, or else one from `run_ids`.
            key: What tells this call from others of the same event, when ids are derived (see `run_ids`).
            on_output: Is called with `"stdout"` or `"stderr"` and the next bytes as they come: each once, in each stream's
                order, never two calls at once, from another thread.
            stdout_to: Where all of stdout goes besides: `ToFile` or `ToS3`, say. Complete or not at all.

        Returns:
            The result, which unpacks as `stdout, stderr, exit_code`. Another exit status than 0 is no error here: see
            `CommandResult.check`.

        Raises:
            RequestRefused: If the command cannot be sent as it is. Nothing was sent.
            CredentialsError: As `connect`. Nothing was sent.
            CannotConnect: As `connect`, or if no channel could be opened, up to the deadline. Nothing ran.
            LoginNodeBusy: If there was no room for it, up to the deadline. Nothing ran.
            OutcomeUnknown: If it was sent and its end is not known by the deadline, or is lost; it has the run's id.
            IncompleteOutput: With `stdout_to`, if the login node does not keep all of stdout; the run has ended.
            Exception: What `on_output` or `stdout_to` raised; the run goes on.

        Note:
            A request that begins with an option, as `--list` does, runs nothing: it is sent as it is, and its answer has no
            run id.
        """
        call = _call_of(command).named(key=key, run_id=run_id)
        deadline = self._deadline(timeout)
        if call.is_question:
            return self._performer.ask(call.request, deadline, max_output)
        return self._follow(self._named(call), deadline, max_output, on_output, stdout_to)

    def run(self, command: str, /, *values: object, **options: object) -> CommandResult:
        """Build a command's arguments of Python values, check them, run it and wait for its end.

        It is `exec_command(Call.of(command, *values, **options))`, which is the form that takes a timeout and the rest.

        Args:
            command: Its name.
            values: Its positional arguments, in order.
            options: Its options, with `_` where the option has `-`: text, number, boolean (a flag), path, or a list of them
                for one that can be repeated. None leaves one out.

        Returns:
            The result, as `exec_command` does. Secret values are not in it, nor in the log.

        Raises:
            RequestRefused: If the arguments break the schema that travels in the function's package, with all that is
                wrong; or if there is no such schema. Nothing was sent.
            SchemaMismatch: If the login node refused them because its own schema is another. Nothing ran.
            RaijinError: As `exec_command`.
        """
        return self.exec_command(Call.of(command, *values, **options))

    def start(
        self, command: str | Call, *, timeout: float | None = None, run_id: str | None = None, key: str | None = None
    ) -> str:
        """Start a run and return its id, without waiting for its end.

        Args:
            command: As for `exec_command`.
            timeout: How many seconds starting it may take.
            run_id: As for `exec_command`.
            key: As for `exec_command`.

        Raises:
            CommandFailed: If the login node refuses it; it carries what it said.
            RaijinError: As `exec_command`.
        """
        call = _call_of(command).named(key=key, run_id=run_id)
        if call.is_question:
            raise RequestRefused(f"{call.command[:80]!r} runs nothing: start takes the name of a command")
        named = self._named(call)
        asking = Asking(
            named.run_id,
            lambda *_: f"--run-id {named.run_id} --detach {call.request}",
            call.command,
            named.repeats,
            wants="nothing",
        )
        refused = self._performer.begin(asking, self._deadline(timeout))
        if refused is not None:
            self._compare_schema(call, refused)
            refused.check()
        return named.run_id

    def result(
        self,
        run_id: str,
        *,
        timeout: float | None = None,
        wait: bool = True,
        max_output: int | None = DEFAULT_MAX_OUTPUT_BYTES,
        on_output: OnOutput | None = None,
        stdout_to: Destination | None = None,
    ) -> CommandResult:
        """Return the result of a run that was started before, by this session or another of the same key.

        Args:
            run_id: Its id.
            timeout: As for `exec_command`.
            wait: Whether to wait for its end if it has not ended.
            max_output: As for `exec_command`.
            on_output: As for `exec_command`.
            stdout_to: As for `exec_command`.

        Raises:
            UnknownRun: If this key has no such run.
            StillRunning: If it has not ended and was not to be waited for; it carries the output so far.
            RaijinError: As `exec_command`.
        """
        check_run_id(run_id)
        waiting = "" if wait else " --detach"
        asking = Asking(
            run_id,
            lambda stdout, stderr: f"--result {run_id} --from-stdout {stdout} --from-stderr {stderr}{waiting}",
            f"--result {run_id}",
            repeats=True,
            starts=False,
            wants="end" if wait else "so_far",
        )
        return self._performer.perform(asking, self._deadline(timeout), max_output, on_output, stdout_to)

    def cancel(self, run_id: str, *, timeout: float | None = None) -> Receipt:
        """End a run, or see to it that it never starts.

        Args:
            run_id: Its id.
            timeout: How many seconds this may take.

        Returns:
            The receipt, whose `outcome` is `cancelled`, or the one that was there first, or `running` if it could not be ended
            yet.

        Raises:
            UnknownRun: If this key has no such run.
            RaijinError: As `exec_command`.
        """
        check_run_id(run_id)
        asking = _about(run_id, f"--cancel {run_id}")
        return self._performer.look(asking, self._deadline(timeout))

    def runs(self, since: str | None = None, *, timeout: float | None = None) -> list[RunRecord]:
        """Return what the login node remembers of this key's runs, newest first.

        Args:
            since: From when on: a time in UTC, as `2026-01-31` or `2026-01-31T23:59:59Z`; None for all.
            timeout: How many seconds this may take.

        Raises:
            RequestRefused: If `since` is no such time.
            CommandFailed: If the login node refuses to say.
            InvalidAnswer: If its answer is no history.
            RaijinError: As `exec_command`.
        """
        question = join(["--history", *(["--since", since] if since is not None else []), "--json"])
        try:
            parse_request(question.encode())
        except Refusal as refusal:
            raise RequestRefused(str(refusal)) from None
        answer = self._performer.ask(question, self._deadline(timeout), max_output=None)
        return parse_history(answer.check().stdout, question)

    def rerun(
        self,
        run_id: str,
        *,
        key: str | None = None,
        timeout: float | None = None,
        max_output: int | None = DEFAULT_MAX_OUTPUT_BYTES,
        on_output: OnOutput | None = None,
        stdout_to: Destination | None = None,
    ) -> CommandResult:
        """Run again what a run was asked to do, as a new attempt with an id of its own, and wait for its end.

        Args:
            run_id: The id of the run, or of one of its attempts.
            key: What tells this new attempt from others of the same run and event, where ids are derived (see `run_ids`).
            timeout: As for `exec_command`.
            max_output: As for `exec_command`.
            on_output: As for `exec_command`.
            stdout_to: As for `exec_command`.

        Returns:
            The new attempt's result, with its `run_id`.

        Raises:
            UnknownRun: If this key has no such run.
            RaijinError: As `exec_command`.

        Note:
            This is what runs a command a second time, and the only thing that does. Where ids are derived from an event, as
            in a handler, the attempt's is too, from the run's id and the key: a retry of the event finds the attempt of the
            first try. Else it is the first run's with `-aN`, and each call is one more attempt.
        """
        check_run_id(run_id)
        deadline = self._deadline(timeout)
        # Where it stands, and none of its output.
        look = f"--result {run_id} --from-stdout {_BEYOND_BYTES} --from-stderr {_BEYOND_BYTES} --detach"
        stands = self._performer.look(_about(run_id, look), deadline)
        repeats = self._ids_repeat()
        if repeats and self.run_ids is not None:
            new = self.run_ids(f"--rerun {run_id} {key or ''}")
        else:
            new = attempt_id(run_id, stands.attempt, stands.attempts + 1)
        asking = Asking(new, lambda *_: f"--run-id {new} --rerun {run_id}", f"--rerun {run_id}", repeats)
        return self._performer.perform(asking, deadline, max_output, on_output, stdout_to)

    def run_many(
        self,
        calls: Iterable[str | Call],
        *,
        max_parallel: int = CHANNELS_PER_CONNECTION,
        timeout: float | None = None,
        max_output: int | None = DEFAULT_MAX_OUTPUT_BYTES,
    ) -> list[CommandResult]:
        """Run many commands, several at once over few connections, and wait for all of them.

        Args:
            calls: As for `exec_command`; a `Call` can bring its own `key` or `run_id` (`Call.named`).
            max_parallel: How many to have running at once, 1 to 64; eight share a connection.
            timeout: How many seconds all of them together may take.
            max_output: As for `exec_command`, for each.

        Returns:
            The results, in the calls' order.

        Raises:
            SomeFailed: If some calls have no result, with the results of the others. Another exit status than 0 is a result.
        """
        if not 1 <= max_parallel <= CHANNELS_PER_CONNECTION * MAX_CONNECTIONS:
            limit = CHANNELS_PER_CONNECTION * MAX_CONNECTIONS
            raise ValueError(f"max_parallel is a number from 1 to {limit}, not {max_parallel}")
        deadline = self._deadline(timeout)
        # All of the ids before anything is sent: a call's place among the others is part of its name.
        performances = [self._performance(_call_of(one), deadline, max_output) for one in calls]
        return perform_all(performances, max_parallel)

    def _performance(self, call: Call, deadline: Deadline, max_output: int | None) -> Callable[[], CommandResult]:
        """Return what performs one of many calls, or raises why it cannot be sent."""
        if call.is_question:
            return lambda: self._performer.ask(call.request, deadline, max_output)
        run_id = call.run_id or self._new_id(call)
        return lambda: self._follow(self._named(call, run_id), deadline, max_output, None, None)

    def _deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline(timeout_s, self.remaining_s)

    def _named(self, call: Call, run_id: str | None = None) -> _Named:
        """Give a call's run its id; check that the request can be sent.

        Raises:
            RequestRefused: If it cannot.
        """
        run_id = run_id or call.run_id or self._new_id(call)
        check_run(call.request, run_id)
        return _Named(call, run_id, repeats=call.run_id is not None or self._ids_repeat())

    def _new_id(self, call: Call) -> str:
        return (self.run_ids or random_run_id)(call.key)

    def _ids_repeat(self) -> bool:
        return self.run_ids not in (None, random_run_id) and bool(getattr(self.run_ids, "repeatable", True))

    def _follow(
        self,
        named: _Named,
        deadline: Deadline,
        max_output: int | None,
        on_output: OnOutput | None,
        stdout_to: Destination | None,
    ) -> CommandResult:
        """Run a command, or follow its run, to its end."""
        call, run_id = named.call, named.run_id

        def request(stdout: int, stderr: int) -> str:
            got = f"--from-stdout {stdout} --from-stderr {stderr} " if stdout or stderr else ""
            return f"--run-id {run_id} {got}{call.request}"

        asking = Asking(run_id, request, call.command, named.repeats)
        result = self._performer.perform(asking, deadline, max_output, on_output, stdout_to)
        self._compare_schema(call, result)
        return result

    def _compare_schema(self, call: Call, result: CommandResult) -> None:
        """Ask the login node for its schema after it refused arguments that fit ours.

        Raises:
            SchemaMismatch: If it is another.
        """
        schema: Schema | None = call.schema
        if schema is None or result.exit_code != USAGE or result.outcome != "refused":
            return
        command = call.request.partition(" ")[0]
        described = self._performer.ask(
            f"--json --describe {command}", self._deadline(self._timeouts.channel), max_output=None
        )
        try:
            approved = str(json.loads(described.stdout)["schema"])
        except (ValueError, KeyError, TypeError):
            return  # it does not say: the refusal stands as it is
        if approved != schema.digest:
            raise SchemaMismatch(
                f"the login node's argument rules of {command} ({approved[:12]}) are not those of this package "
                f"({schema.digest[:12]}): package and deploy the function again; it said: {result.stderr.strip()}",
                command=command,
                packaged=schema.digest,
                approved=approved,
            )


def _call_of(command: str | Call) -> Call:
    return command if isinstance(command, Call) else Call.from_text(command)


def _about(run_id: str, request: str) -> Asking:
    """What is asked about a run that is there, and answered at once."""
    return Asking(run_id, lambda *_: request, request, repeats=True, starts=False, wants="nothing")
