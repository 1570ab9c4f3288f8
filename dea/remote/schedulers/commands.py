"""`submit`, `status` and `cancel`: reads their arguments, does it, and prints one JSON object.

The commands of `raijin_scripts` fix what a client may not choose, the script above all, and hand on what their schema let
through. By hand everything can be chosen, the command to run too.
"""

import argparse
import json
import os
import pwd
import re
import signal
import sys

from dea.remote.audit import make_private_folder
from dea.remote.contract.job import FORMAT, MAX_IDS, is_job_id
from dea.remote.contract.request import is_name, shown
from dea.remote.decision import state_of
from dea.remote.gate import STATE_FOLDER
from dea.remote.schedulers.calls import hold, perform
from dea.remote.schedulers.choose import choose
from dea.remote.schedulers.errors import Refused, SchedulerError, Unreachable
from dea.remote.schedulers.measures import size_bytes, whole_seconds
from dea.remote.schedulers.modules import try_module
from dea.remote.schedulers.once import Submission
from dea.remote.schedulers.order import Order, mark_of, script_of
from dea.remote.schedulers.records import Records
from dea.remote.schedulers.shared import INTERVAL_S, Shared

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL = "BATCH_STATUS_INTERVAL_S"
"""The variable, of site.yaml's, that says how far apart questions to the scheduler are at least."""

MAX_SCRIPT_BYTES = 1 << 20
_VARIABLES = re.compile(rb"^# variables: ([A-Z0-9_ ]+)$", re.M)
_MAX_INTERVAL_S = 3600.0


def main(argv: "list[str]") -> int:
    """Do what the arguments say; return the exit status."""
    # Ignored by whoever started this, the kernel would keep no child's status: what failed would seem to have succeeded.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    parser = argparse.ArgumentParser(prog="schedulers", allow_abbrev=False, description="Deals with batch jobs.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="submit|status|cancel")
    submit = verbs.add_parser("submit", allow_abbrev=False, help="submit a job")
    _add_submit_options(submit, argv)
    status = verbs.add_parser("status", allow_abbrev=False, help="say how jobs stand")
    status.add_argument("ids", nargs="+", metavar="ID")
    cancel = verbs.add_parser("cancel", allow_abbrev=False, help="ask for a job's end")
    cancel.add_argument("id", metavar="ID")
    cancel.add_argument("--any", action="store_true", help="also a job that was not submitted from here")
    options = parser.parse_args(argv)
    doings: "dict[str, Callable[[argparse.Namespace, str], dict[str, object]]]" = {
        "submit": _submit,
        "status": _status,
        "cancel": _cancel,
    }
    state = state_of(os.environ.get("DEA_PREFIX")) or os.path.join(pwd.getpwuid(os.getuid()).pw_dir, STATE_FOLDER)
    try:
        answer = doings[options.verb](options, state)
    except SchedulerError as error:
        _say(str(error))
        return error.status
    except OSError as error:
        _say(f"{error}: tell the operator")
        return 1
    print(json.dumps(answer), flush=True)  # noqa: T201 - the answer is the output
    return 0


def _add_submit_options(parser: argparse.ArgumentParser, argv: "list[str]") -> None:
    parser.add_argument("--script", metavar="FILE", help="the script that is the job")
    parser.add_argument("--jobs", metavar="FOLDER", help="the folder of the scripts of which JOB names one")
    parser.add_argument("--name", help="the job's name (default: the script's)")
    parser.add_argument("--queue", help="the queue, or partition")
    parser.add_argument("--project", help="what it is charged to: PBS's project, Slurm's account")
    parser.add_argument("--walltime", metavar="HH:MM:SS", help="how long it may run")
    parser.add_argument("--ncpus", type=int, metavar="N", help="how many CPUs it gets")
    parser.add_argument("--mem", metavar="SIZE", help="how much memory it gets: 4GB, 500MB")
    parser.add_argument("--storage", action="append", default=[], metavar="PLACE", help="a file system that it needs")
    parser.add_argument("--resource", action="append", default=[], metavar="NAME=AMOUNT", help="another resource")
    parser.add_argument("--after", action="append", default=[], metavar="RELATION:ID", help="afterok:12, say")
    parser.add_argument("--array", metavar="FIRST-LAST", help="makes it an array")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a variable that it gets")
    parser.add_argument("--output", metavar="FOLDER", help="where its output goes (default: in the state folder)")
    parser.add_argument(
        "--pass",
        action="append",
        default=[],
        dest="passed",
        metavar="OPTION",
        help="makes an option of its own: --pass max-age takes --max-age VALUE, and the job gets MAX_AGE",
    )
    parser.add_argument("--module", metavar="OPTION", help="as --pass, for the environment module that the job loads")
    first, _ = _first_parser().parse_known_args(argv)
    for option in _passed(first):
        parser.add_argument(f"--{option}", dest=f"passed_{option}", metavar="VALUE", help="goes on to the job")
    parser.add_argument("words", nargs="*", metavar="JOB | -- COMMAND", help="which job, or what it runs")


def _first_parser() -> argparse.ArgumentParser:
    """Return a parser of what decides which options there are."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--pass", action="append", default=[], dest="passed")
    parser.add_argument("--module")
    return parser


def _passed(options: argparse.Namespace) -> "list[str]":
    return [*options.passed, *([options.module] if options.module else [])]


def _submit(options: argparse.Namespace, state: str) -> "dict[str, object]":
    run_id = os.environ.get("DEA_RUN_ID")
    script, name = _script(options)
    variables = [_pair("--set", text) for text in options.set]
    if options.jobs is not None:
        _check_variables(name, script, variables)
    for option in _passed(options):
        value = getattr(options, f"passed_{option}")
        if value is not None:
            variables.append((option.replace("-", "_").upper(), value))
            if option == options.module:
                variables += try_module(value, perform)
    output = options.output or os.path.join(state, "jobs", "output")
    order = Order(
        script=script,
        name=options.name or name,
        mark=mark_of(run_id or os.urandom(16).hex()),
        run_id=run_id,
        queue=options.queue,
        project=options.project,
        walltime_s=_read("--walltime", options.walltime, whole_seconds, "HH:MM:SS"),
        ncpus=options.ncpus,
        mem_bytes=_read("--mem", options.mem, size_bytes, "a size such as 4GB"),
        storage=tuple(options.storage),
        resources=tuple(_pair("--resource", text) for text in options.resource),
        after=tuple(_dependency(text) for text in options.after),
        array=options.array,
        variables=tuple(variables),
        output=output,
    )
    scheduler, records = choose(), Records(state)
    for _, job_id in order.after:
        if "." in job_id and records.own(_whole(job_id)) is None:
            # The scheduler asks the server that an id names.
            raise Refused(
                f"--after: {job_id} was not submitted from here: give its number alone, {job_id.partition('.')[0]}"
            )
    if options.output is None:
        make_private_folder(output)
    elif not os.path.isdir(output):
        raise Refused(f"--output: there is no folder {shown(output)}: make it, or name another")
    submission = Submission(scheduler, order, records, os.environ.get("DEA_ATTEMPT_OF"), perform, _say)
    return submission.submit().encode()


def _script(options: argparse.Namespace) -> "tuple[bytes, str]":
    """Return the job's script, and a name for it."""
    if options.jobs is not None:
        if len(options.words) != 1 or not is_name(options.words[0]):
            raise Refused(
                f"which job? One name is needed of those in {options.jobs}, not {shown(' '.join(options.words))}"
            )
        name = options.words[0]
        try:
            return _content(os.path.join(options.jobs, name)), name
        except FileNotFoundError:
            there = sorted(entry for entry in os.listdir(options.jobs) if is_name(entry))
            raise Refused(f"there is no job {name}: there are {', '.join(there)}") from None
    if options.script is not None:
        if options.words:
            raise Refused("--script and a command exclude each other")
        name = os.path.basename(options.script).partition(".")[0]
        try:
            return _content(options.script), name
        except FileNotFoundError:
            raise Refused(f"--script: there is no file {shown(options.script)}") from None
    if not options.words:
        raise Refused("what is to run? Name a --script, or a command after --")
    return script_of(options.words), os.path.basename(options.words[0])


def _check_variables(name: str, script: bytes, variables: "list[tuple[str, str]]") -> None:
    """Check that a job takes the variables that are set, by its own line `# variables: NAME ...`.

    A client that could set any could have the job load what it likes: MODULEPATH, PERL5LIB and many more do that.
    """
    declared = [word.decode("ascii", "replace") for line in _VARIABLES.findall(script) for word in line.split()]
    for variable, _ in variables:
        if variable not in declared:
            known = f"it takes {', '.join(declared)}" if declared else "it takes none"
            raise Refused(f"--set: {shown(variable)} is no variable of the job {name}: {known}")


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        content = file.read(MAX_SCRIPT_BYTES + 1)
    if len(content) > MAX_SCRIPT_BYTES:
        raise Refused(f"{path} is larger than a script of {MAX_SCRIPT_BYTES} bytes: let it call what is long")
    return content


def _status(options: argparse.Namespace, state: str) -> "dict[str, object]":
    if len(options.ids) > MAX_IDS:
        raise Refused(f"{len(options.ids)} jobs are too many for one question: ask for up to {MAX_IDS}")
    for job_id in options.ids:
        _check_id(job_id)
    return Shared(choose(), state, interval_s=_interval_s()).standing(options.ids).encode()


def _cancel(options: argparse.Namespace, state: str) -> "dict[str, object]":
    _check_id(options.id)
    scheduler = choose()
    if not options.any and Records(state).own(_whole(options.id)) is None:
        # Who holds a key must not end what others run under the same account.
        raise Refused(
            f"{options.id} was not submitted from here: only such jobs can be cancelled, by the id that was printed then"
        )
    interval_s = _interval_s()
    hold(scheduler.cancel(options.id), perform)
    try:
        standing = Shared(scheduler, state, interval_s=interval_s).standing([options.id], from_now=True)
    except Unreachable as error:
        raise Unreachable(f"{options.id} was asked to end, and how it stands cannot be told: {error}") from error
    return {"format": FORMAT, "scheduler": scheduler.NAME, "job": standing.jobs[0].encode()}


def _whole(job_id: str) -> str:
    """Return the id of the array that a task belongs to, or the job's own.

    >>> _whole("13[2].gadi-pbs"), _whole("12_3"), _whole("12.gadi-pbs")
    ('13[].gadi-pbs', '12', '12.gadi-pbs')
    """
    number, bracket, rest = job_id.partition("[")
    if bracket:
        return f"{number}[]{rest.partition(']')[2]}"
    return job_id.partition("_")[0]


def _check_id(job_id: str) -> None:
    if not is_job_id(job_id):
        raise Refused(
            f"{shown(job_id)} is no id of a job: it looks like 12.server, 12[3].server or 12_3, as it was printed"
        )


def _interval_s() -> float:
    text = os.environ.get(INTERVAL)
    if text is None:
        return INTERVAL_S
    try:
        interval_s = float(text)
    except ValueError:
        interval_s = -1.0
    if not 0 <= interval_s <= _MAX_INTERVAL_S:
        raise Refused(
            f"{INTERVAL} is {shown(text)}: it is seconds, up to {_MAX_INTERVAL_S:g}; put it right in site.yaml"
        )
    return interval_s


def _read(option: str, text: "str | None", read: "Callable[[str | None], int | None]", form: str) -> "int | None":
    if text is None:
        return None
    value = read(text)
    if value is None:
        raise Refused(f"{option}: {shown(text)} is not {form}")
    return value


def _pair(option: str, text: str) -> "tuple[str, str]":
    name, sign, value = text.partition("=")
    if not sign:
        raise Refused(f"{option}: {shown(text)} is no NAME=VALUE")
    return name, value


def _dependency(text: str) -> "tuple[str, str]":
    relation, _, job_id = text.partition(":")
    return relation, job_id


def _say(line: str) -> None:
    name = os.environ.get("DEA_COMMAND", "schedulers")
    print(f"{name}: {line}", file=sys.stderr, flush=True)  # noqa: T201 - for a person
