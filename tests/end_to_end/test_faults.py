"""Broken connections, frozen nodes, two login nodes: every command runs once, and every result is the one of that run."""

from __future__ import annotations

import contextlib
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import psutil
import pytest

from dea.raijin import (
    AuthenticationFailed,
    CommandTimeout,
    ConnectionLost,
    RaijinError,
    RaijinSession,
    Retries,
    RunLost,
    Timeouts,
    connections,
)
from dea.remote.authorized_keys import authorized_keys_line
from dea.remote.fault import FRONT_STEPS, STEPS
from dea.workspace.faults import Fault, FaultProxy, frozen, session_through
from dea.workspace.faults.campaign import campaign, entries, ledger_sandbox
from dea.workspace.sandbox import Sandbox, openssh
from tests.conftest import ROOT, require

RUNS = 60  # nox -s faults does 300
QUICK = Timeouts(connect=5, handshake=5, authentication=5, channel=5, kept=2, silence=1, alive=1)


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    """A sandbox with two login nodes on one home folder, and the command `ledger`."""
    require(openssh.unusable())
    with ledger_sandbox(login_nodes=2) as running:
        yield running


@pytest.fixture
def proxy(box: Sandbox) -> Iterator[FaultProxy]:
    with FaultProxy((box.host, box.port)) as running:
        yield running


@pytest.fixture
def session(box: Sandbox, proxy: FaultProxy) -> Iterator[RaijinSession]:
    """A session through the proxy."""
    made = session_through(box, proxy, timeouts=QUICK, retries=Retries(base_s=0.05, cap_s=0.5))
    yield made
    made.close()


def new_id() -> str:
    return f"test-{secrets.token_hex(8)}"


def test_broken_connections_neither_lose_nor_double_a_run(box: Sandbox) -> None:
    figures = campaign(box, seed=secrets.randbelow(10**6), runs=RUNS)
    assert figures.problems == ()
    assert (figures.runs, figures.lost, figures.doubled) == (RUNS, 0, 0)
    assert figures.cuts >= RUNS


def test_the_program_prints_the_figures_as_its_last_line(tmp_path: Path) -> None:
    require(openssh.unusable())
    command = [
        sys.executable,
        "-m",
        "dea.workspace.faults",
        "--seed",
        "1",
        "--runs",
        "3",
        "--record",
        tmp_path / "figures",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"runs 3, cuts [1-9]\d*, lost 0, doubled 0", done.stdout.splitlines()[-1])
    assert done.stdout.endswith((tmp_path / "figures").read_text())


def test_fifty_connections_to_two_login_nodes_get_the_result_of_one_run(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections._admission, "_limit", 60)
    run_id = new_id()
    prefixes = [box.user_path, box.stored_for(f"{box.host}:{box.ports[1]}")]
    sessions = [RaijinSession(prefixes[number % 2], ssm=box.ssm()) for number in range(50)]
    together = threading.Barrier(50)

    def ask(session: RaijinSession) -> tuple[str, str, int]:
        with session:
            together.wait(120)
            result = session.exec_command("ledger 7 5000 300 3 200 0", run_id=run_id)
            return tuple(result)  # type: ignore[return-value]

    with ThreadPoolExecutor(50) as pool:
        results = list(pool.map(ask, sessions))
    assert len(set(results)) == 1
    assert (len(results[0][0]), len(results[0][1]), results[0][2]) == (5000, 300, 3)
    assert entries(box)[run_id] == 1
    assert sum(line.get("run_id") == run_id and line["event"] == "started" for line in box.audit()) == 1
    logs = (box.home / ".dea-orchestration" / "audit").glob("*.jsonl")
    assert sum(run_id in log.read_text("utf-8") for log in logs) == 2  # each login node has its own, and was asked


def test_output_is_handed_on_once_however_often_the_connection_breaks(
    box: Sandbox, session: RaijinSession, proxy: FaultProxy
) -> None:
    got = bytearray()
    session.connect()
    proxy.arm(*(Fault("cut", at_byte=at) for at in (60_000, 60_000, 60_000)))
    result = session.exec_command(
        "ledger 1 200000 0 0 0 0", on_output=lambda _, data: got.extend(data), run_id=(run_id := new_id())
    )
    assert len(proxy.happened) == 3
    assert bytes(got).decode() == result.stdout
    assert len(got) == 200_000
    assert entries(box)[run_id] == 1


def test_a_kept_connection_that_is_dead_is_replaced_within_seconds_before_anything_is_sent(
    session: RaijinSession, proxy: FaultProxy, box: Sandbox
) -> None:
    """A frozen Lambda function wakes up with a connection that looks open."""
    assert session.exec_command("ledger 1 1 0 0 0 0").ok
    proxy.arm(Fault("stall", "up", at_byte=0))
    begin = time.monotonic()
    result = session.exec_command("ledger 2 1 0 0 0 0")
    assert (result.ok, result.replayed) == (True, False)
    assert 2 <= time.monotonic() - begin < 40
    assert len(proxy.happened) == 1


def test_a_connection_that_stalls_in_mid_run_is_noticed(session: RaijinSession, proxy: FaultProxy) -> None:
    session.connect()
    proxy.arm(Fault("stall", at_byte=20_000))
    begin = time.monotonic()
    result = session.exec_command("ledger 1 100000 0 0 0 0")
    assert (result.ok, result.stdout_bytes) == (True, 100_000)
    assert time.monotonic() - begin < 40


def test_a_quiet_run_on_a_good_connection_is_waited_for(session: RaijinSession, proxy: FaultProxy) -> None:
    """The login node is asked whether it is there, and it is: no other connection is made."""
    session.connect()
    before = session.ssh_client
    assert session.exec_command("ledger 1 8 0 0 4000 0").ok
    assert session.ssh_client is before


def test_garbled_bytes_are_a_broken_connection_and_never_output(session: RaijinSession, proxy: FaultProxy) -> None:
    session.connect()
    proxy.arm(Fault("garble", at_byte=30_000), Fault("garble", at_byte=30_000))
    result = session.exec_command("ledger 3 100000 0 0 0 0")
    assert len(proxy.happened) == 2
    assert result.stdout == "".join(f"3 stdout {at}\n" for at in range(20_000))[:100_000]


def test_a_frozen_login_node_is_an_unknown_outcome_at_the_deadline_and_found_again_later(
    box: Sandbox, session: RaijinSession
) -> None:
    run_id = new_id()
    session.connect()
    (server,) = (
        process
        for process in psutil.process_iter(["name"])
        if process.info["name"] == "sshd" and any(one.laddr.port == box.port for one in listening(process))
    )
    begun = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(
            session.exec_command,
            "ledger 1 80 0 0 1500 0",
            run_id=run_id,
            timeout=6,
            on_output=lambda *_: begun.set(),
        )
        assert begun.wait(30)
        with frozen(server.pid), pytest.raises((CommandTimeout, ConnectionLost)) as raised:
            waiting.result()
    assert raised.value.run_id == run_id
    assert raised.value.retryable
    assert session.result(run_id).stdout_bytes == 80
    assert entries(box)[run_id] == 1


def listening(process: psutil.Process) -> list[psutil._common.pconn]:
    try:
        return [one for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    except psutil.Error:
        return []


def test_a_rotated_key_is_read_again_after_a_refused_login(box: Sandbox) -> None:
    """The old key is taken from authorized_keys while a session that knows it is between two connections."""
    first, second = (asyncssh.generate_private_key("ssh-ed25519") for _ in "ab")
    authorized_keys = box.home / ".ssh" / "authorized_keys"
    original = authorized_keys.read_text()
    command = original.split('command="')[1].split('"')[0]
    prefix = box.stored_for("rotated:22")
    ssm = box.ssm()

    def store(part: str, value: str) -> None:
        box.store({f"{prefix}.{part}": value})

    def accept(key: asyncssh.SSHKey) -> None:
        authorized_keys.write_text(original + authorized_keys_line(key.export_public_key().decode(), command) + "\n")

    store("host", f"{box.host}:{box.port}")
    store("pkey", first.export_private_key().decode())
    accept(first)
    asked: list[str] = []
    ssm.meta.events.register("before-call.ssm.GetParameters", lambda **_: asked.append("GetParameters"))
    try:
        with RaijinSession(prefix, ssm=ssm) as session:
            session.close()
            assert session.exec_command("ledger 1 1 0 0 0 0").ok
            assert len(asked) == 1  # not again for another connection
            accept(second)
            session.close()
            with pytest.raises(AuthenticationFailed):
                session.connect()  # asked again, and SSM has nothing newer
            store("pkey", second.export_private_key().decode())
            assert session.exec_command("ledger 1 1 0 0 0 0").ok
            assert len(asked) == 3
    finally:
        authorized_keys.write_text(original)


def test_one_process_opens_only_so_many_connections(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections._admission, "_limit", connections._admission._limit)
    open_now = [box.session(timeouts=Timeouts(connect=0.5)) for _ in range(connections.MAX_CONNECTIONS + 1)]
    try:
        for session in open_now[:-1]:
            session.connect()
        with pytest.raises(connections.ConnectionLimitReached, match="close sessions that are not needed"):
            open_now[-1].connect()
        open_now[0].close()
        open_now[-1].connect()
    finally:
        for session in open_now:
            session.close()


def key_with(box: Sandbox, *options: str) -> str:
    """Let another key in whose forced command has more options; return the prefix of its parameters."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    authorized_keys = box.home / ".ssh" / "authorized_keys"
    command = authorized_keys.read_text().split('command="')[1].split('"')[0]
    with authorized_keys.open("a") as lines:
        lines.write(authorized_keys_line(key.export_public_key().decode(), " ".join([command, *options])) + "\n")
    prefix = box.stored_for("-".join(option.strip("-").replace(":", ".") for option in options) + ":22")
    box.store({f"{prefix}.host": f"{box.host}:{box.port}", f"{prefix}.pkey": key.export_private_key().decode()})
    return prefix


def test_a_dispatcher_killed_at_any_step_is_one_run_or_said_to_be_lost(box: Sandbox) -> None:
    """The first try is killed at a step, on either side of the fork; the second goes through a key without a fault."""
    good = key_with(box, "--lost-after", "3")
    request = "ledger 5 3000 300 3 200 0"
    steps = {step: key_with(box, "--lost-after", "3", "--fault", step) for step in STEPS}

    def try_twice(step: str) -> tuple[str, str]:
        run_id = new_id()
        hopeless = Retries(give_up_s=0.0)
        with RaijinSession(steps[step], ssm=box.ssm(), retries=hopeless) as killed, contextlib.suppress(RaijinError):
            killed.exec_command(request, run_id=run_id, timeout=30)
        with RaijinSession(good, ssm=box.ssm()) as session:
            try:
                result = session.exec_command(request, run_id=run_id, timeout=60)
            except RunLost as lost:
                return run_id, "lost" if lost.run_id == run_id else "lost another run"
        return run_id, f"{len(result.stdout)} {len(result.stderr)} {result.exit_code}"

    with ThreadPoolExecutor(4) as pool:
        ended = dict(zip(STEPS, pool.map(try_twice, STEPS), strict=True))
    ran = entries(box)
    assert {step: ran[run_id] for step, (run_id, _) in ended.items() if ran[run_id] > 1} == {}
    assert {step: end for step, (_, end) in ended.items() if end not in ("3000 300 3", "lost")} == {}
    never_ran = {step for step, (run_id, _) in ended.items() if ran[run_id] == 0}
    assert all(ended[step][1] == "lost" for step in never_ran)
    # Until it is decided who starts, and once the outcome is on record, nothing is lost; nor by the front process's end, ever.
    safe = (*FRONT_STEPS, "supervisor-began", "start-prepared", "outcome-linked", "outcome-durable")
    assert {step: ended[step][1] for step in safe if ended[step][1] == "lost"} == {}
