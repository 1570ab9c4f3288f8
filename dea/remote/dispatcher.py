"""The dispatcher: takes one request, runs what was approved or says why not, and records both. Never a shell.

There are two ways in. In gate mode, which the forced command's own argv turns on with `--key`, the request is what the
client sent, only approved commands run, and every decision is recorded. By hand the request is the arguments, and one's
own unapproved commands run with a warning. A request with a run id is handed on to `dea.remote.runs`.
"""

import os
import pwd

from dea.remote.approval import Unapproved
from dea.remote.bucket import BURST, PER_SECOND, take_token
from dea.remote.contract.receipt import EXITED, LOST, SIGNALED
from dea.remote.contract.receipt import TIMED_OUT as OUTCOME_TIMED_OUT
from dea.remote.contract.request import BY_HAND_ONLY, CANCEL, RESULT, Refusal, Request, parse_request, request_of
from dea.remote.contract.status import BUSY, REFUSED, TIMED_OUT
from dea.remote.decision import Key, Plan, Site, decide
from dea.remote.exchange import Exchange, complain, failure, not_startable, say, write
from dea.remote.gate import OPTIONS, STATE_FOLDER, read_options
from dea.remote.launch import NotStarted, launch

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from collections.abc import Callable

    from dea.remote.places import Place


def main(checkout: str, argv: "list[str]") -> int:
    """Handle one request and return the exit status.

    Args:
        checkout: The absolute path of the checkout that holds `raijin_scripts`.
        argv: The dispatcher's own arguments: gate options from the forced command, or by hand the request's words.
    """
    try:
        account = pwd.getpwuid(os.getuid())
        if argv[:1] and argv[0] in OPTIONS:
            site, key = read_options(argv, checkout, account)
            raw = os.environb.get(b"SSH_ORIGINAL_COMMAND", b"")
            exchange = Exchange(site, key, _client_address(), raw)
            return _handle(exchange, lambda: parse_request(raw) if key.only is None else _fixed_request(key.only, raw))
        # Not HOME: the state is the account's, whoever became it.
        site = Site(checkout, account, account.pw_dir, os.path.join(account.pw_dir, STATE_FOLDER))
        return _handle(Exchange(site, Key(), None), lambda: request_of(argv))
    except Refusal as refusal:
        return complain(refusal)
    except Exception as error:  # noqa: BLE001 - the last resort: a clear line and 125, never a traceback to a client
        return complain(failure(error))


def _fixed_request(name: str, raw: bytes) -> Request:
    """Return the request of a key with `--only`: for its command without arguments, whatever was sent.

    Of that, no more is heeded than which run it is about and how that is answered: so a broken connection is no reason to
    run the command twice here either, not even if the rest is an option of a newer client's.
    """
    try:
        sent = parse_request(raw)
    except Refusal as refusal:
        return Request(name, run_id=refusal.run_id)
    if sent.verb in (RESULT, CANCEL):
        return sent
    return Request(
        name, run_id=sent.run_id, from_stdout=sent.from_stdout, from_stderr=sent.from_stderr, detach=sent.detach
    )


def _handle(exchange: Exchange, read: "Callable[[], Request]") -> int:
    """Decide on a request, record that, and act on it."""
    try:
        request = exchange.request = read()
        _take_token(exchange)
        if request.question is not None:
            return _answer(exchange, request)
        if request.run_id is not None:
            from dea.remote.runs.requests import handle

            return handle(exchange, request)
        plan = decide(exchange.site, exchange.key, request)
        place = None
        if plan.max_parallel is not None and not exchange.is_by_hand:
            from dea.remote.places import place_for

            place = place_for(exchange.site, request.name, plan.max_parallel)
    except Refusal as refusal:
        return exchange.refuse(refusal)
    except Exception as error:  # noqa: BLE001 - as in main, and recorded
        return exchange.refuse(failure(error))
    say(*(f"warning: {warning}" for warning in plan.warnings))
    try:
        return _run(exchange, request, plan, place)
    finally:
        if place is not None:
            place.give_back()


def _run(exchange: Exchange, request: Request, plan: Plan, place: "Place | None") -> int:
    about: "dict[str, object]" = {"run_id": None, "command": request.name}
    try:
        exchange.record(("started", {**about, "arguments": list(plan.arguments)}))
    except Refusal as refusal:
        return complain(refusal)
    try:
        ended = launch(
            plan.program,
            plan.arguments,
            plan.environment,
            timeout_s=plan.timeout_s,
            stdin=plan.stdin,
            beat=None if place is None else place.beat,
            beat_s=exchange.site.beat_s,
        )
    except NotStarted as error:
        return exchange.refuse(not_startable(request.name, str(error)), command=request.name)
    except Exception as error:  # noqa: BLE001 - as in main; and how the command ended, nobody knows
        lost = failure(error)
        _record_or_say(exchange, {**about, "outcome": LOST, "status": None, "problems": list(lost.problems)})
        return complain(lost)
    status = TIMED_OUT if ended.timed_out else ended.status
    outcome = OUTCOME_TIMED_OUT if ended.timed_out else SIGNALED if ended.signaled else EXITED
    if ended.timed_out:
        say(f"{request.name} was ended: it ran longer than {plan.timeout_s} s")
    facts: "dict[str, object]" = {
        **about,
        "outcome": outcome,
        "status": status,
        "children": ended.children,
        "duration_s": exchange.duration_s(),
    }
    _record_or_say(exchange, facts)
    return status


def _record_or_say(exchange: Exchange, facts: "dict[str, object]") -> None:
    """Record an end: it has happened, its own status is the truth, and the lack of a line is said beside it."""
    try:
        exchange.record(("ended", facts))
    except Refusal as refusal:
        complain(refusal)


def _answer(exchange: Exchange, request: Request) -> int:
    if not exchange.is_by_hand and request.question in BY_HAND_ONLY:
        raise Refusal(REFUSED, f"{request.question} is answered to who is logged in, not to a key")
    from dea.remote.answers import answer

    status, text = answer(exchange.site, exchange.key, request, exchange.client)
    facts: "dict[str, object]" = {
        "question": request.question,
        "command": request.name,
        "status": status,
        "duration_s": exchange.duration_s(),
    }
    exchange.record(("ended", facts))
    write(1, text.encode("utf-8", "backslashreplace"))
    return status


def _take_token(exchange: Exchange) -> None:
    """Refuse a request for now if there were too many of late, of all keys together."""
    if exchange.is_by_hand:
        return
    try:
        true_of_site = exchange.site.own_approval()
    except Unapproved:
        true_of_site = {}  # nothing will run; that is said by who decides on it
    burst, per_second = true_of_site.get("request_burst", BURST), true_of_site.get("requests_per_second", PER_SECOND)
    wait_s = take_token(exchange.site.state, burst, per_second)
    if wait_s is not None:
        raise Refusal(
            BUSY,
            f"the account's requests come too fast, more than {per_second:g} each second: try again in {wait_s:g} s",
            retry_after_s=wait_s,
        )


def _client_address() -> str:
    """Return the client's address as sshd set it, or nothing if it looks like anything else."""
    address = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    return (
        address if len(address) <= 64 and address.replace(".", "").replace(":", "").replace("%", "").isalnum() else ""
    )
