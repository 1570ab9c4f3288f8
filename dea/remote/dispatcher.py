"""The dispatcher: takes one request, runs what was approved or says why not, and records both. Never a shell.

There are two ways in. In gate mode, which the forced command's own argv turns on with `--key`, the request is what the
client sent, only approved commands run, and every decision is recorded. By hand the request is the arguments, and one's
own unapproved commands run with a warning. See sshd(8), AUTHORIZED_KEYS FILE FORMAT.
"""

import os
import pwd
import time

from dea.remote import __version__
from dea.remote.audit import Audit, make_private_folder, timestamp
from dea.remote.contract.receipt import BUSY as OUTCOME_BUSY
from dea.remote.contract.receipt import EXITED, LOST, SIGNALED, Receipt
from dea.remote.contract.receipt import REFUSED as OUTCOME_REFUSED
from dea.remote.contract.receipt import TIMED_OUT as OUTCOME_TIMED_OUT
from dea.remote.contract.request import BY_HAND_ONLY, Refusal, Request, is_name, parse_request, request_of, shown
from dea.remote.contract.status import BUSY, FAILED, REFUSED, TIMED_OUT
from dea.remote.decision import Key, Plan, Site, decide, recordable
from dea.remote.launch import NotStarted, launch, take_place

TYPE_CHECKING = False  # as in `typing`, which costs eight milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable

STATE_FOLDER = ".dea-orchestration"
"""The state folder's default place, in the account's home folder."""

_GATE_OPTIONS = ("--key", "--home", "--state", "--allow", "--only")
_REPEATABLE = ("--allow",)
_MAX_LABEL_LENGTH = 128


def main(checkout: str, argv: "list[str]") -> int:
    """Handle one request and return the exit status.

    Args:
        checkout: The absolute path of the checkout that holds `raijin_scripts`.
        argv: The dispatcher's own arguments: gate options from the forced command, or by hand the request's words.
    """
    try:
        # Not HOME: in gate mode the environment is not trusted.
        account = pwd.getpwuid(os.getuid())
        if argv[:1] and argv[0] in _GATE_OPTIONS:
            key, home, state = _gate_options(argv, account.pw_dir)
            return _Dispatch(Site(checkout, account, home, state), key, _client_address()).handle_sent()
        site = Site(checkout, account, account.pw_dir, os.path.join(account.pw_dir, STATE_FOLDER))
        return _Dispatch(site, Key(), None).handle(lambda: request_of(argv), b"")
    except Refusal as refusal:
        return _complain(refusal)
    except Exception as error:  # noqa: BLE001 - the last resort: a clear line and 125, never a traceback to a client
        return _complain(_failure(error))


class _Dispatch:
    """One request from its arrival to its end.

    Args:
        site: Where the dispatcher is.
        key: What the request's key may do.
        client: The client's address for the audit log, or None by hand, where nothing is recorded.
    """

    def __init__(self, site: Site, key: Key, client: "str | None") -> None:
        self._site = site
        self._key = key
        self._audit = None if client is None else Audit(site.state, key.label or "", client)
        self._begin = time.monotonic()
        self._received = timestamp(time.time())

    def handle_sent(self) -> int:
        """Handle what the client sent with its key; a key with `--only` always asks for the same."""
        raw = os.environb.get(b"SSH_ORIGINAL_COMMAND", b"")
        only = self._key.only
        return self.handle(lambda: parse_request(raw) if only is None else Request(only), raw)

    def handle(self, read: "Callable[[], Request]", raw: bytes) -> int:
        """Decide on a request, record that, and act on it.

        Args:
            read: Makes the request, or raises a `Refusal`.
            raw: The request's text, for the record.
        """
        request = None
        try:
            request = read()
            if request.question is not None:
                return self._answer(request, raw)
            plan = decide(self._site, self._key, request)
            place = self._take_place(request, plan)
        except Refusal as refusal:
            return self._refuse(refusal, raw, request)
        except Exception as error:  # noqa: BLE001 - as in main, and recorded
            return self._refuse(_failure(error), raw, request)
        _say(*(f"warning: {warning}" for warning in plan.warnings))
        try:
            return self._run(request, plan, raw)
        finally:
            if place is not None:
                os.close(place)

    def _run(self, request: Request, plan: Plan, raw: bytes) -> int:
        about: "dict[str, object]" = {"run_id": request.run_id, "command": request.name}
        try:
            self._record(self._arrival(raw, request), ("started", {**about, "arguments": list(plan.arguments)}))
        except Refusal as refusal:
            return self._complain_with_receipt(refusal, request.run_id)
        started = timestamp(time.time())
        try:
            ended = launch(plan.program, plan.arguments, plan.environment, timeout_s=plan.timeout_s, stdin=plan.stdin)
        except NotStarted as error:
            return self._refuse_started(_not_startable(request.name, error), about, request.run_id)
        except Exception as error:  # noqa: BLE001 - as in main; and how the command ended, nobody knows
            return self._lose(_failure(error), about, request.run_id, started)
        status = TIMED_OUT if ended.timed_out else ended.status
        outcome = OUTCOME_TIMED_OUT if ended.timed_out else SIGNALED if ended.signaled else EXITED
        if ended.timed_out:
            _say(f"{request.name} was ended: it ran longer than {plan.timeout_s} s")
        facts: "dict[str, object]" = {
            **about,
            "outcome": outcome,
            "status": status,
            "children": ended.children,
            "duration_s": self._duration_s(),
        }
        self._record_or_say(("ended", facts))
        self._hand_out_receipt(
            request.run_id, outcome, status, started=started, ended=timestamp(time.time()), children=ended.children
        )
        return status

    def _answer(self, request: Request, raw: bytes) -> int:
        if self._audit is not None and request.question in BY_HAND_ONLY:
            raise Refusal(REFUSED, f"{request.question} is answered to who is logged in, not to a key")
        from dea.remote.answers import answer

        status, text = answer(self._site, self._key, request)
        facts: "dict[str, object]" = {
            "question": request.question,
            "command": request.name,
            "status": status,
            "duration_s": self._duration_s(),
        }
        self._record(self._arrival(raw, request), ("ended", facts))
        _write(1, text.encode("utf-8", "backslashreplace"))
        return status

    def _refuse(self, refusal: Refusal, raw: bytes, request: "Request | None") -> int:
        run_id = request.run_id if request is not None else refusal.run_id
        facts: "dict[str, object]" = {
            "run_id": run_id,
            "status": refusal.status,
            "problems": list(refusal.problems),
            "duration_s": self._duration_s(),
        }
        try:
            self._record(self._arrival(raw, request), ("refused", facts))
        except Refusal as unrecorded:
            problems = dict.fromkeys((*refusal.problems, *unrecorded.problems))  # once, if that is why it is refused
            refusal = Refusal(unrecorded.status, *problems)
        return self._complain_with_receipt(refusal, run_id)

    def _refuse_started(self, refusal: Refusal, about: "dict[str, object]", run_id: "str | None") -> int:
        """Refuse what was recorded as started, and then could not be."""
        self._record_or_say(("refused", {**about, "status": refusal.status, "problems": list(refusal.problems)}))
        return self._complain_with_receipt(refusal, run_id)

    def _lose(self, failure: Refusal, about: "dict[str, object]", run_id: "str | None", started: str) -> int:
        """Say that a command was started and that its end was not seen: never that it did not run."""
        self._record_or_say(("ended", {**about, "outcome": LOST, "status": None, "problems": list(failure.problems)}))
        status = _complain(failure)
        self._hand_out_receipt(run_id, LOST, None, started=started)
        return status

    def _complain_with_receipt(self, refusal: Refusal, run_id: "str | None") -> int:
        status = _complain(refusal)
        self._hand_out_receipt(run_id, OUTCOME_BUSY if status == BUSY else OUTCOME_REFUSED, status)
        return status

    def _take_place(self, request: Request, plan: Plan) -> "int | None":
        if plan.max_parallel is None or self._audit is None:
            return None
        folder = os.path.join(self._site.state, "places", request.name)
        make_private_folder(folder)
        place = take_place(folder, plan.max_parallel)
        if place is None:
            raise Refusal(
                BUSY,
                f"{request.name} already runs {plan.max_parallel} times here, and no more at once: try again later",
            )
        return place

    def _arrival(self, raw: bytes, request: "Request | None") -> "tuple[str, dict[str, object]]":
        if self._audit is None:
            return "received", {}
        run_id = request.run_id if request is not None else None
        text = recordable(self._site, raw, None if self._key.only is not None else request)
        return "received", {"run_id": run_id, "request": text, "size_bytes": len(raw)}

    def _record(self, *events: "tuple[str, dict[str, object]]") -> None:
        if self._audit is None:
            return
        try:
            self._audit.record(*events)
        except OSError as error:
            reason = error.strerror or str(error)
            raise Refusal(
                REFUSED,
                f"the audit log cannot be written ({reason}): what cannot be recorded does not run; tell the operator",
            ) from error

    def _record_or_say(self, event: "tuple[str, dict[str, object]]") -> None:
        """Record what has happened already: its own status is the truth, and the lack of a line is said beside it."""
        try:
            self._record(event)
        except Refusal as refusal:
            _complain(refusal)

    def _duration_s(self) -> float:
        return round(time.monotonic() - self._begin, 4)

    def _hand_out_receipt(
        self,
        run_id: "str | None",
        outcome: str,
        status: "int | None",
        *,
        started: "str | None" = None,
        ended: "str | None" = None,
        children: "int | None" = None,
    ) -> None:
        if run_id is None:
            return
        head = self._audit.head if self._audit is not None else None
        receipt = Receipt(
            run_id, outcome, status, received=self._received, started=started, ended=ended, children=children,
            version=__version__, audit=head,
        )  # fmt: skip
        _write(2, receipt.encode())


def _gate_options(argv: "list[str]", home: str) -> "tuple[Key, str, str]":
    """Read what the forced command's own argv says: the key, the home folder and the state folder.

    It is trusted, because only the account itself can write `authorized_keys`; a mistake in it refuses everything.

    Raises:
        Refusal: If a word is unknown, an option lacks its value or is repeated, or `--key` is missing.
    """
    values: "dict[str, list[str]]" = {}
    option = ""
    for word in argv:
        if word.startswith("--"):
            option = word
            if option not in _GATE_OPTIONS or (option in values and option not in _REPEATABLE):
                raise _misconfigured(f"has an unknown or repeated option {shown(option)}")
            values.setdefault(option, [])
        elif not word or (values[option] and option not in _REPEATABLE):
            raise _misconfigured(f"has a stray word {shown(word)}")
        else:
            values[option].append(word)
    for option, given in values.items():
        if not given:
            raise _misconfigured(f"has no value for {option}")
    label = "".join(values.get("--key", []))
    only = "".join(values["--only"]) if "--only" in values else None
    if not label or len(label) > _MAX_LABEL_LENGTH:
        raise _misconfigured("has no --key LABEL, or too long a one")
    if only is not None and not is_name(only):
        raise _misconfigured(f"has --only {shown(only)}, which is no name of a command")
    home = "".join(values.get("--home", [home]))
    state = "".join(values.get("--state", [os.path.join(home, STATE_FOLDER)]))
    if not os.path.isabs(home) or not os.path.isabs(state):
        raise _misconfigured("has a --home or --state that is no absolute path")
    return Key(label, tuple(values.get("--allow", ())), only), home, state


def _misconfigured(problem: str) -> Refusal:
    return Refusal(REFUSED, f"the forced command in authorized_keys {problem}: tell the operator")


def _client_address() -> str:
    """Return the client's address as sshd set it, or nothing if it looks like anything else."""
    address = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    return (
        address if len(address) <= 64 and address.replace(".", "").replace(":", "").replace("%", "").isalnum() else ""
    )


def _not_startable(name: str, error: NotStarted) -> Refusal:
    return Refusal(
        REFUSED,
        f"{name} cannot be started ({error}): check the first line of its `run` and the interpreter there",
    )


def _failure(error: Exception) -> Refusal:
    return Refusal(FAILED, f"the dispatcher itself failed: {type(error).__name__}: {shown(str(error), 300)}")


def _complain(refusal: Refusal) -> int:
    """Say on stderr what is wrong; nothing ever goes to stdout, where it could pass for a command's output."""
    _say(*refusal.problems)
    return refusal.status


def _say(*sentences: str) -> None:
    for sentence in sentences:
        _write(2, f"dea-remote: {sentence}\n".encode("utf-8", "backslashreplace"))


def _write(descriptor: int, data: bytes) -> None:
    """Write to stdout or stderr; if nobody reads there any more, that must not keep the rest from being done."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            # The command shares it, and has made it non-blocking, as ssh(1) does; what is to be said must not be lost.
            os.set_blocking(descriptor, True)
        except OSError:
            return
