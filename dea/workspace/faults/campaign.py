"""Many runs through broken connections: each command must run once, and each result be what it is without a fault."""

from __future__ import annotations

import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dea.raijin import CommandResult, RaijinError, Retries, Timeouts
from dea.workspace.faults import ledger
from dea.workspace.faults.proxy import Fault, FaultProxy, Way, session_through
from dea.workspace.sandbox import Sandbox
from dea.workspace.sandbox.one_command import sandbox_with

WORKERS = 4

# Short, so that a stalled connection costs a second or two and not half a minute.
_TIMEOUTS = Timeouts(connect=5, banner=5, handshake=5, authentication=5, channel=5, silence=1, alive=1)
_RETRIES = Retries(base_s=0.05, cap_s=0.5, give_up_s=120)

_COMMAND = """\
summary: Writes its run id into a ledger, and then output that is known beforehand.
arguments: any
"""
# Of a connection's bytes, what is SSH's own: more than the measured 2 to 4 KB, so that some cuts fall after it.
_HANDSHAKE_BYTES = {"up": 4500, "down": 5000}
_IN_A_ROW = 4


@dataclass(frozen=True, slots=True)
class Figures:
    """How a campaign went.

    Attributes:
        runs: How many runs there were.
        cuts: How many connections were broken.
        lost: How many runs have no result, not the right one, or never ran.
        doubled: How many runs the command ran more than once for.
        faults: The faults that happened, by kind.
        problems: What is wrong, one line for each.
    """

    runs: int
    cuts: int
    lost: int
    doubled: int
    faults: dict[str, int]
    problems: tuple[str, ...]

    @property
    def line(self) -> str:
        """The figures in one line."""
        return f"runs {self.runs}, cuts {self.cuts}, lost {self.lost}, doubled {self.doubled}"


@dataclass(frozen=True, slots=True)
class _Run:
    """One run: what is asked for, and what must come of it."""

    number: int
    run_id: str
    stdout_bytes: int
    stderr_bytes: int
    status: int
    pause_ms: int
    forges: bool

    @property
    def request(self) -> str:
        words = (self.number, self.stdout_bytes, self.stderr_bytes, self.status, self.pause_ms, int(self.forges))
        return " ".join(["ledger", *map(str, words)])

    @property
    def expected(self) -> tuple[bytes, bytes, int]:
        stderr = ledger.text(self.number, "stderr", self.stderr_bytes)
        if self.forges:
            stderr += ledger.forged_receipt(self.run_id)
        return ledger.text(self.number, "stdout", self.stdout_bytes), stderr, self.status


@contextlib.contextmanager
def ledger_sandbox(*, login_nodes: int = 1) -> Iterator[Sandbox]:
    """Run a sandbox of OpenSSH's kind whose login nodes have the command `ledger`."""
    run = Path(ledger.__file__).read_text("utf-8")
    with sandbox_with("ledger", run, _COMMAND, login_nodes=login_nodes) as box:
        yield box


def entries(box: Sandbox) -> Counter[str]:
    """Return how often each run's command has run."""
    path = box.home / ledger.LEDGER
    return Counter(path.read_text("utf-8").split() if path.exists() else [])


def campaign(box: Sandbox, *, seed: int, runs: int, on_run: Callable[[], None] = lambda: None) -> Figures:
    """Put runs through broken connections and count.

    Args:
        box: A sandbox with the command `ledger`.
        seed: What all that is random comes from, but for the threads' own timing.
        runs: How many.
        on_run: Is called after each.
    """
    wanted = [_drawn(_dice(seed, number), seed, number) for number in range(runs)]
    shares = [wanted[at::WORKERS] for at in range(WORKERS)]
    counting = threading.Lock()
    problems: dict[str, str] = {}
    kinds: Counter[str] = Counter()

    def work(share: list[_Run]) -> None:
        with _Worker(box, seed) as worker:
            for run in share:
                problem = worker.perform(run)
                with counting:
                    if problem:
                        problems[run.run_id] = problem
                    on_run()
            with counting:
                kinds.update(fault.kind for fault in worker.proxy.happened)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, shares))
    ran = entries(box)
    for run in wanted:
        if ran[run.run_id] == 0:
            problems.setdefault(run.run_id, "its command never ran")
    doubled = {run.run_id: ran[run.run_id] for run in wanted if ran[run.run_id] > 1}
    return Figures(
        runs=runs,
        cuts=sum(count for kind, count in kinds.items() if kind != "delay"),
        lost=len(problems),
        doubled=len(doubled),
        faults=dict(kinds),
        problems=(
            *(f"{run_id}: {problem}" for run_id, problem in problems.items()),
            *(f"{run_id}: its command ran {count} times" for run_id, count in doubled.items()),
        ),
    )


class _Worker:
    """One client that performs runs one after the other, through a proxy of its own."""

    def __init__(self, box: Sandbox, seed: int) -> None:
        self.proxy = FaultProxy((box.host, box.port))
        self._seed = seed
        self._direct = box.session()
        self._session = session_through(box, self.proxy, timeouts=_TIMEOUTS, retries=_RETRIES)

    def __enter__(self) -> _Worker:
        self.proxy.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._direct.close()
        self.proxy.__exit__(None, None, None)

    def perform(self, run: _Run) -> str | None:
        """Perform a run through at least one broken connection; return what is wrong, if anything is."""
        draw = _dice(self._seed, run.number, "faults")
        if draw.random() < 0.5:
            self._session.close()  # the next connection is a new one: the cut can fall into its beginning
        happened = len(self.proxy.happened)
        streamed = {"stdout": bytearray(), "stderr": bytearray()}
        self.proxy.arm(*(_fault(draw, run) for _ in range(draw.randint(1, _IN_A_ROW))))
        try:
            results = [
                self._session.exec_command(
                    run.request, run_id=run.run_id, on_output=lambda name, data: streamed[name].extend(data)
                )
            ]
            if draw.random() < 0.3 or len(self.proxy.happened) == happened:
                results.append(self._after_a_cut(run, draw))
            self.proxy.arm()
            results.append(self._direct.result(run.run_id))
        except RaijinError as error:
            return f"{type(error).__name__}: {error}"
        finally:
            self.proxy.arm()
        if tuple(map(bytes, streamed.values())) != run.expected[:2]:
            return f"what was handed on is not what was written: {_lengths(streamed.values())} bytes"
        return next(filter(None, (_difference(run, result) for result in results)), None)

    def _after_a_cut(self, run: _Run, draw: random.Random) -> CommandResult:
        """Cut the connection after the result has come, and ask again: by the same request, or by the run's id alone."""
        self.proxy.cut_now()
        if draw.random() < 0.5:
            return self._session.exec_command(run.request, run_id=run.run_id)
        return self._session.result(run.run_id)


def _dice(*seeds: object) -> random.Random:
    return random.Random(" ".join(map(str, seeds)))  # noqa: S311 - a campaign is to be repeatable, not secret


def _drawn(draw: random.Random, seed: int, number: int) -> _Run:
    stdout_bytes, stderr_bytes = (
        int(2 ** draw.uniform(0, 18)) - 1 for _ in "12"
    )  # up to 256 KiB, each magnitude alike
    status = draw.choice((0, 0, 0, 1, 3, 75, 126, 127))
    run_id = f"faults-{seed}-{number:05d}-{draw.getrandbits(32):08x}"
    return _Run(number, run_id, stdout_bytes, stderr_bytes, status, draw.choice((0, 0, 100, 400)), draw.random() < 0.2)


def _fault(draw: random.Random, run: _Run) -> Fault:
    kind = draw.choices(("cut", "garble", "stall", "delay"), (85, 7, 4, 4))[0]
    output_bytes = run.stdout_bytes + run.stderr_bytes
    if kind == "garble":
        # After the key exchange, where every byte is authenticated. Before it, a changed byte may be a wrong host key: that is
        # to be refused and not to be tried again.
        return Fault("garble", "down", at_byte=_HANDSHAKE_BYTES["down"] + draw.randint(0, output_bytes))
    if draw.random() < 0.25:
        return Fault(kind, draw.choice(("up", "down")), after_s=draw.uniform(0, 0.4 + run.pause_ms / 1000))  # type: ignore[arg-type]
    way: Way = draw.choice(("up", "down"))
    most = _HANDSHAKE_BYTES[way] + (output_bytes if way == "down" else 0)
    return Fault(kind, way, at_byte=draw.randint(0, most))  # type: ignore[arg-type]


def _difference(run: _Run, result: CommandResult) -> str | None:
    expected = tuple(part.decode() if isinstance(part, bytes) else part for part in run.expected)
    if tuple(result) == expected and result.outcome == "exited":
        return None
    return (
        f"the result is {result!r}, not status {run.status} with {_lengths(run.expected[:2])} bytes: "
        f"{_lengths((result.stdout, result.stderr))} came"
    )


def _lengths(parts: object) -> str:
    return " and ".join(str(len(part)) for part in parts)  # type: ignore[attr-defined]
