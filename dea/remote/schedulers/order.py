"""What is to be submitted: checked here for whichever scheduler gets it, because both paste such values into texts of theirs."""

import re
from dataclasses import dataclass

from dea.remote.contract.job import is_job_id
from dea.remote.contract.request import shown
from dea.remote.contract.words import join
from dea.remote.digest import sha256
from dea.remote.schedulers.errors import Refused

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from collections.abc import Iterator

RUN_ID = "DEA_RUN_ID"
"""The variable in a job's environment that names the run that submitted it."""

RELATIONS = ("after", "afterok", "afternotok", "afterany")
"""How a job can depend on others: once they began, succeeded, failed, or ended."""

MAX_VALUE = 512
"""How long a variable's value may be."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@/-]{0,127}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
# No comma, quote, backslash, space: qsub -v and sbatch --export split at them, each by rules of its own. And no character
# beyond ASCII: of such a value in a job's variables, OpenPBS prints JSON that is none.
_VALUE = re.compile(rf"[A-Za-z0-9_./:=@%+~-]{{0,{MAX_VALUE}}}", re.ASCII)
_RESOURCE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}", re.ASCII)
_AMOUNT = re.compile(r"[A-Za-z0-9_.:/+-]{1,128}", re.ASCII)
_ARRAY = re.compile(r"[0-9]{1,6}-[0-9]{1,6}(:[0-9]{1,6})?", re.ASCII)
# The scheduler's own, ours, and what makes a program load or run something.
_RESERVED_PREFIXES = ("PBS_", "SLURM_", "LD_", "PYTHON")
_RESERVED = (RUN_ID, "PATH", "BASH_ENV", "ENV", "HOME", "IFS")
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648 base32, in small letters
_MARK_LENGTH = 10


@dataclass(frozen=True)
class Order:
    """A job to be submitted.

    Attributes:
        script: The script's content; its `#PBS` and `#SBATCH` lines count where nothing here says otherwise.
        name: What the job is called; the scheduler sees its beginning, and the mark of the run.
        mark: What the job can be found by: `mark_of` the run id.
        run_id: The run that submits it, or None.
        queue: The queue, or partition.
        project: What it is charged to: PBS's project, Slurm's account.
        walltime_s: For how many seconds it may run.
        ncpus: How many CPUs it gets.
        mem_bytes: How much memory.
        storage: The file systems that it needs, such as `gdata/v10`: PBS's resource `storage`, Slurm's licences.
        resources: Other resources by name: PBS's `-l`, Slurm's `--gres`.
        after: What it depends on: pairs of one of `RELATIONS` and a job's id.
        array: The indices of an array, `0-9` or `0-9:3`, or None for one job.
        variables: The environment that it gets; nothing else of the submitter's passes.
        output: The folder of its output; the file is named by the scheduler.
    """

    script: bytes
    name: str
    mark: str
    run_id: "str | None" = None
    queue: "str | None" = None
    project: "str | None" = None
    walltime_s: "int | None" = None
    ncpus: "int | None" = None
    mem_bytes: "int | None" = None
    storage: "tuple[str, ...]" = ()
    resources: "tuple[tuple[str, str], ...]" = ()
    after: "tuple[tuple[str, str], ...]" = ()
    array: "str | None" = None
    variables: "tuple[tuple[str, str], ...]" = ()
    output: "str | None" = None

    def __post_init__(self) -> None:
        problems = list(_problems_with(self))
        if problems:
            raise Refused("; ".join(problems))

    def name_within(self, limit: int) -> str:
        """Return the job's name as the scheduler gets it, in so many characters: some of its own, and the mark.

        >>> Order(b"#!/bin/sh", "execute_clean", "k3j5h2m9xq").name_within(15)
        'exec-k3j5h2m9xq'
        """
        return f"{self.name[: limit - len(self.mark) - 1]}-{self.mark}"

    @property
    def all_variables(self) -> "tuple[tuple[str, str], ...]":
        """The variables, with the run's id among them."""
        return self.variables + (((RUN_ID, self.run_id),) if self.run_id is not None else ())


def mark_of(run_id: str) -> str:
    """Return what a run's job is marked with: 50 bits of a hash, because PBS takes names of 15 characters.

    >>> mark_of("a-run-id")
    'll62kninhh'
    """
    bits = int(sha256(run_id.encode()).hexdigest(), 16)
    return "".join(_ALPHABET[bits >> 5 * number & 31] for number in range(_MARK_LENGTH))


def script_of(command: "list[str]") -> bytes:
    r"""Return a script that runs one command.

    >>> script_of(["echo", "two words"])
    b"#!/bin/sh\nexec echo 'two words'\n"
    """
    return f"#!/bin/sh\nexec {join(command)}\n".encode("utf-8", "surrogateescape")


def _problems_with(order: Order) -> "Iterator[str]":
    if not order.script.startswith(b"#!"):
        yield "a script begins with #! and its interpreter"
    if b"\0" in order.script:
        yield "a script is text: this one has NUL bytes"
    if not _NAME.fullmatch(order.name):
        yield f"name: {shown(order.name)} is no name of letters, digits, `_.-` that begins with a letter"
    words = [("queue", order.queue), ("project", order.project), *(("storage", place) for place in order.storage)]
    for what, word in words:
        if word is not None and not _WORD.fullmatch(word):
            yield f"{what}: {shown(word)} is no plain name"
    for what, amount in (("walltime", order.walltime_s), ("ncpus", order.ncpus), ("mem", order.mem_bytes)):
        if amount is not None and amount < 1:
            yield f"{what}: {amount} is too little"
    if order.array is not None and not _ARRAY.fullmatch(order.array):
        yield f"array: {shown(order.array)} is no range such as 0-9 or 0-9:3"
    yield from _problems_with_pairs(order)


def _problems_with_pairs(order: Order) -> "Iterator[str]":
    for name, amount in order.resources:
        if not _RESOURCE.fullmatch(name) or not _AMOUNT.fullmatch(amount):
            yield f"resource: {shown(f'{name}={amount}')} is no plain NAME=AMOUNT"
    for relation, job in order.after:
        if relation not in RELATIONS or not is_job_id(job):
            yield f"after: {shown(f'{relation}:{job}')} is none of {', '.join(RELATIONS)} with a job's id"
    for name, value in order.variables:
        if not _VARIABLE.fullmatch(name) or name in _RESERVED or name.startswith(_RESERVED_PREFIXES):
            yield f"variable: {shown(name)} is no name for a variable of a job's"
        if not _VALUE.fullmatch(value):
            yield (
                f"variable {shown(name)}: {shown(value)} has characters other than A-Z a-z 0-9 _ . / : = @ % + ~ -,"
                f" or more than {MAX_VALUE}: put it into a file, and hand over the file's path"
            )
