"""Two hundred dispatches at once from twenty connections: the audit log stays whole, and nothing hangs."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko

from dea.raijin.credentials import load_credentials
from dea.remote.contract import take_receipt
from dea.workspace import interpreters
from dea.workspace.sandbox import openssh
from tests.conftest import require
from tests.end_to_end.conftest import Start

CONNECTIONS, EACH = 20, 10  # MaxSessions of sshd_config(5) is 10
TIMEOUT_S = 60


def test_two_hundred_at_once(start_sandbox: Start, tmp_path: Path) -> None:
    require(openssh.unusable())
    box = start_sandbox("openssh")
    credentials = load_credentials(box.user_path, ssm=box.ssm())
    before = len(box.audit())

    def connect(_: int) -> paramiko.Transport:
        transport = paramiko.Transport((credentials.host, credentials.port))
        transport.connect(username=credentials.user, pkey=credentials.private_key)
        return transport

    def dispatch(transport: paramiko.Transport, run_id: str) -> tuple[bytes, bytes, int]:
        channel = transport.open_session(timeout=TIMEOUT_S)
        channel.settimeout(TIMEOUT_S)
        channel.exec_command(f"--run-id {run_id} echo_args {run_id}")
        stdout = b"".join(iter(lambda: channel.recv(65536), b""))
        stderr = b"".join(iter(lambda: channel.recv_stderr(65536), b""))
        status = channel.recv_exit_status()
        channel.close()
        return stdout, stderr, status

    run_ids = [f"run-{number:04d}" for number in range(CONNECTIONS * EACH)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        transports = list(pool.map(connect, range(CONNECTIONS)))
    try:
        with ThreadPoolExecutor(CONNECTIONS * EACH) as pool:
            of_each = [transports[number % CONNECTIONS] for number in range(len(run_ids))]
            ends = list(pool.map(dispatch, of_each, run_ids))
    finally:
        for transport in transports:
            transport.close()

    assert [(stdout, status) for stdout, _, status in ends] == [(f"[{run_id}]\n".encode(), 0) for run_id in run_ids]
    receipts = [take_receipt(stderr, run_id)[1] for (_, stderr, _), run_id in zip(ends, run_ids, strict=True)]
    assert all(receipt is not None and receipt.outcome == "exited" for receipt in receipts)
    lines = box.audit()[before:]  # each of them is JSON: whole
    assert len(lines) == 3 * len(run_ids)
    kept = tmp_path / "receipts"
    kept.write_bytes(b"".join(stderr for _, stderr, _ in ends))
    main = box.checkout / "dea" / "remote" / "__main__.py"
    command = [interpreters.login_node(), "-I", "-S", main, "--json", "--audit-verify"]
    done = subprocess.run(
        [*command, "--state", box.home / ".dea-orchestration", "--receipts", kept], capture_output=True, check=False
    )
    found = json.loads(done.stdout)
    assert (done.returncode, found["intact"], found["receipts"]) == (0, True, len(run_ids))
