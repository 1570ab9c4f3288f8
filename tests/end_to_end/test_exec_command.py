"""What `exec_command` gives back for commands of every kind of behaviour, through both kinds of login node."""

from __future__ import annotations

import json
import logging
import secrets
import socket
import time

import psutil
import pytest

from dea.raijin import CommandFailed, CommandTimeout, RaijinSession, RequestRefused, Timeouts
from dea.workspace.sandbox import Sandbox

MEBIBYTE = 1024 * 1024


def test_unpacks_as_stdout_stderr_and_exit_code(session: RaijinSession) -> None:
    stdout, stderr, exit_code = session.exec_command("probe exit_with 3")
    assert (stdout, stderr, exit_code) == ("out\n", "err\n", 3)


def test_64_mib_on_each_stream_interleaved_arrive_whole(session: RaijinSession) -> None:
    result = session.exec_command("probe flood 64", max_output=None)
    block = bytes(range(32, 96)).decode() * 1024
    assert result.exit_code == 0
    assert (result.stdout_bytes, result.stderr_bytes, result.truncated) == (64 * MEBIBYTE, 64 * MEBIBYTE, False)
    assert result.stdout == block * 1024
    assert result.stderr == block[::-1] * 1024


def test_output_beyond_the_cap_is_drained_and_counted_with_head_and_tail_kept(session: RaijinSession) -> None:
    result = session.exec_command("probe flood 8", max_output=1000)
    block = bytes(range(32, 96)).decode()
    assert result.truncated
    assert result.stdout_bytes == 8 * MEBIBYTE
    assert result.stdout.startswith((block * 8)[:500] + "\n[... ")
    assert result.stdout.endswith(f"[... {8 * MEBIBYTE - 1000} bytes left out ...]\n" + (block * 8)[-500:])


def test_a_command_that_closes_stdout_early_is_waited_for(session: RaijinSession) -> None:
    result = session.exec_command("probe close_stdout")
    assert tuple(result) == ("early\n", "late\n", 0)


def test_invalid_utf8_is_replaced(session: RaijinSession) -> None:
    assert session.exec_command("probe invalid_utf8").stdout == "caf\u00e9 \ufffd\ufffd\0 end\n"


def test_a_command_killed_by_a_signal_gives_128_and_the_signal(session: RaijinSession) -> None:
    assert tuple(session.exec_command("probe killed")) == ("before\n", "", 137)


def test_a_command_that_prints_nothing_gives_empty_texts(session: RaijinSession) -> None:
    assert tuple(session.exec_command("probe silent")) == ("", "", 0)


def test_a_background_child_that_holds_stdout_is_not_waited_for_and_lives_on(
    session: RaijinSession, box: Sandbox
) -> None:
    begin = time.monotonic()
    result = session.exec_command("probe background")
    assert time.monotonic() - begin < 40  # the child sleeps for 60
    assert result.exit_code == 0
    assert result.children == 1
    child = psutil.Process(int(result.stdout))
    assert child.is_running()
    child.kill()


def test_a_background_child_that_goes_on_writing_is_left_too(box: Sandbox) -> None:
    with box.session(timeouts=Timeouts(drain=2)) as session:
        result = session.exec_command("probe chatty")
    assert result.exit_code == 0
    assert "done" in result.stdout.splitlines()
    assert result.duration_s < 12  # the child writes for 30


def test_a_connection_that_broke_unseen_is_made_anew_before_anything_is_sent(session: RaijinSession) -> None:
    transport = session.ssh_client.get_transport()
    assert transport is not None
    transport.sock.shutdown(socket.SHUT_RDWR)
    assert session.exec_command("probe silent").ok


def test_the_callers_timeout_ends_the_wait_and_keeps_what_had_arrived(session: RaijinSession) -> None:
    with pytest.raises(CommandTimeout, match="it goes on; its run id is") as raised:
        session.exec_command("probe sleep 30", timeout=1.0)
    assert raised.value.stdout == "begun\n"
    assert session.exec_command("probe silent").ok  # the session is still good


def test_check_raises_with_the_whole_result(session: RaijinSession) -> None:
    result = session.exec_command("probe exit_with 3")
    assert not result.ok
    with pytest.raises(CommandFailed, match="exit status 3: err") as raised:
        result.check()
    assert raised.value.result is result
    assert session.exec_command("probe silent").check().ok


def test_one_connection_serves_many_commands_and_is_made_anew_when_it_broke(session: RaijinSession) -> None:
    before = session.ssh_client.get_transport()
    assert session.exec_command("probe silent").ok
    assert session.ssh_client.get_transport() is before
    assert before is not None
    before.close()
    assert session.exec_command("probe silent").ok
    assert session.ssh_client.get_transport() is not before


@pytest.mark.parametrize("command", ["x" * (64 * 1024 + 1), "probe \udcff", "probe \0"])
def test_what_cannot_arrive_is_refused_before_anything_is_sent(
    session: RaijinSession, box: Sandbox, command: str
) -> None:
    received = len(box.audit())
    with pytest.raises(RequestRefused):
        session.exec_command(command)
    assert len(box.audit()) == received


def test_a_request_of_64_kib_with_its_options_arrives(session: RaijinSession) -> None:
    run_id = secrets.token_hex(8)
    options = f"--run-id {run_id} --from-stdout {2**63} --from-stderr {2**63} --detach "
    length = 64 * 1024 - len(options) - len("probe show ")
    shown = json.loads(session.exec_command("probe show " + "x" * length, run_id=run_id).stdout)
    assert len(shown["arguments"][0]) == length
    with pytest.raises(RequestRefused, match="65537 bytes long"):
        session.exec_command("probe show " + "x" * (length + 1), run_id=run_id)


def test_an_unknown_name_gives_127_and_nothing_on_stdout(session: RaijinSession) -> None:
    result = session.exec_command("nope")
    assert (result.stdout, result.exit_code) == ("", 127)
    assert "no command nope" in result.stderr


def test_arguments_arrive_literally(session: RaijinSession) -> None:
    shown = json.loads(session.exec_command("""probe show 'a b' "it's" \\* '$HOME' ~ é""").stdout)
    assert shown["arguments"] == ["a b", "it's", "*", "$HOME", "~", "é"]


def test_the_surroundings_are_made_from_nothing(session: RaijinSession, box: Sandbox) -> None:
    shown = json.loads(session.exec_command("probe show").stdout)
    environment = shown["environment"]
    # Python adds LC_CTYPE to its own environment (PEP 538)
    assert set(environment) - {"LC_CTYPE"} == {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "DEA_COMMAND",
        "DEA_PREFIX",
        "DEA_RUN_ID",
    }
    assert (environment["HOME"], environment["DEA_COMMAND"]) == (str(box.home), "probe")
    assert shown["folder"] == str(box.checkout / "raijin_scripts" / "probe")
    assert shown["stdin"] == ""
    assert shown["descriptors"] == [0, 1, 2, 3]  # 3 is the listing itself
    assert (shown["umask"], shown["own_group"]) == (0o027, True)


def test_no_signal_is_ignored_or_blocked(session: RaijinSession) -> None:
    masks = dict(line.split(":\t") for line in session.exec_command("signals").stdout.splitlines())
    # Two real-time signals belong to the C library, which does not let go of them.
    assert {name: int(mask, 16) & 0x7FFFFFFF for name, mask in masks.items()} == {"SigBlk": 0, "SigIgn": 0}


def test_output_is_logged_as_it_should_be_seen(box: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "test.session")
    with box.session(logger=logging.getLogger("test.session")) as session:
        session.exec_command("probe exit_with 0")
        session.exec_command("probe exit_with 3")
    logged = [(record.levelname, record.getMessage()) for record in caplog.records if hasattr(record, "exit_code")]
    assert logged == [
        ("DEBUG", "stdout: out"),
        ("WARNING", "stderr: err"),
        ("DEBUG", "stdout: out"),
        ("ERROR", "exit status 3, stderr: err"),
    ]


def test_the_audit_log_has_what_was_asked_and_how_it_ended(session: RaijinSession, box: Sandbox) -> None:
    run_id = session.exec_command("probe exit_with 3").run_id
    received, started, ended = box.audit()[-3:]
    request = f"--run-id {run_id} probe exit_with 3"
    assert (received["request"], received["key"], received["client"]) == (request, "sandbox", "127.0.0.1")
    assert (started["command"], started["arguments"]) == ("probe", ["exit_with", "3"])
    assert (ended["command"], ended["status"]) == ("probe", 3)


def test_keys_are_changed_late_enough_for_a_long_output(session: RaijinSession) -> None:
    """Left alone, paramiko would change them after 512 MiB, in mid-transfer, and sometimes never gets through with it."""
    transport = session.ssh_client.get_transport()
    assert transport is not None
    assert transport.packetizer.REKEY_BYTES == 16 * 1024**3


def test_a_change_of_keys_that_hangs_costs_a_connection_and_no_output(box: Sandbox) -> None:
    with box.session() as session:
        transport = session.ssh_client.get_transport()
        assert transport is not None
        transport.clear_to_send_timeout = 0.5
        transport.packetizer.REKEY_BYTES = 8 * MEBIBYTE
        transport._send_kex_init = transport.clear_to_send.clear  # begins to change keys, and never ends
        result = session.exec_command("probe flood 24", max_output=0)
        assert (result.exit_code, result.stdout_bytes, result.stderr_bytes) == (0, 24 * MEBIBYTE, 24 * MEBIBYTE)
        assert session.ssh_client.get_transport() is not transport
