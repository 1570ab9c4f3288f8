"""Durable runs through a real login node: what becomes of a run when its connection goes."""

from __future__ import annotations

import uuid

import paramiko
import pytest

from dea.remote.contract import Receipt, take_receipt
from dea.workspace.sandbox import Sandbox

Answer = tuple[bytes, Receipt | None, int]


@pytest.fixture
def run_id() -> str:
    return uuid.uuid4().hex


def ask(box: Sandbox, run_id: str, request: str) -> Answer:
    """Send a request on a connection of its own; return stdout, the receipt and the exit status."""
    with box.session() as session:
        channel = begin(session.ssh_client, request)
        stdout, stderr = channel.makefile("rb").read(), channel.makefile_stderr("rb").read()
        return stdout, take_receipt(stderr, run_id)[1], channel.recv_exit_status()


def begin(client: paramiko.SSHClient, request: str) -> paramiko.Channel:
    transport = client.get_transport()
    assert transport is not None
    channel = transport.open_session(timeout=20)
    channel.settimeout(30)
    channel.exec_command(request)
    return channel


def test_a_run_outlives_its_connection_and_is_not_run_again(box: Sandbox, run_id: str) -> None:
    with box.session() as session:
        channel = begin(session.ssh_client, f"--run-id {run_id} probe sleep 2")
        assert channel.recv(6) == b"begun\n"
        transport = session.ssh_client.get_transport()
        assert transport is not None
        transport.sock.close()  # no goodbye
    stdout, receipt, status = ask(box, run_id, f"--run-id {run_id} probe sleep 2")
    assert (stdout, status) == (b"begun\n", 0)
    assert receipt is not None
    assert (receipt.outcome, receipt.replayed) == ("exited", True)
    events = [line["event"] for line in box.audit() if line.get("run_id") == run_id]
    assert sorted(events) == ["ended", "received", "received", "replayed", "started"]


def test_a_detached_run_lets_the_channel_go(box: Sandbox, run_id: str) -> None:
    stdout, receipt, status = ask(box, run_id, f"--run-id {run_id} --detach probe sleep 600")
    assert (stdout, status) == (b"", 0)
    assert receipt is not None
    assert (receipt.outcome, receipt.status) == ("running", None)
    _, receipt, status = ask(box, run_id, f"--cancel {run_id}")
    assert receipt is not None
    assert (receipt.outcome, receipt.status, status) == ("cancelled", 143, 0)
    stdout, receipt, status = ask(box, run_id, f"--result {run_id}")
    assert (stdout, status) == (b"begun\n", 143)


def test_the_channel_ends_though_a_child_holds_the_output(box: Sandbox, run_id: str) -> None:
    stdout, receipt, status = ask(box, run_id, f"--run-id {run_id} probe background")
    assert status == 0
    assert receipt is not None
    assert (receipt.children, receipt.stdout_bytes) == (1, len(stdout))
