"""Every way in which a connection can fail gives one error of its own, which says what to do and shows no key."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import traceback
import urllib.request
from collections.abc import Iterator

import asyncssh
import boto3
import pytest

from dea.raijin import (
    AuthenticationFailed,
    ConnectionClosed,
    ConnectionRefused,
    ConnectTimeout,
    HandshakeTimeout,
    HostKeyMismatch,
    HostUnreachable,
    InvalidHost,
    InvalidHostKey,
    InvalidPrivateKey,
    MissingHostKey,
    MissingParameter,
    ParameterAccessDenied,
    ParameterStoreUnavailable,
    PassphraseProtectedKey,
    RaijinError,
    RaijinSession,
    Timeouts,
    get_ssm_parameter,
)
from dea.remote.authorized_keys import authorized_keys_line
from dea.workspace.sandbox import Sandbox

SHORT = Timeouts(connect=1, banner=1, handshake=2, authentication=5, channel=5)
PARTS = ("user", "host", "pkey", "hostkey")


def stored_anew(box: Sandbox, prefix: str, **changes: str | None) -> str:
    """Store the sandbox's parameters under another prefix, with changes; None leaves one out."""
    values = {**box.stored(), **changes}
    box.store({f"{prefix}.{part}": value for part, value in values.items() if value is not None})
    return prefix


def failure(box: Sandbox, prefix: str, timeouts: Timeouts = SHORT) -> RaijinError:
    """Return the error that connecting with these parameters gives."""
    with pytest.raises(RaijinError) as raised:
        RaijinSession(prefix, ssm=box.ssm(), timeouts=timeouts).connect()
    everything = "".join(traceback.format_exception(raised.value))
    key = box.stored()["pkey"]
    assert not [line for line in key.splitlines()[1:-1] if line in everything]
    return raised.value


def private_key(kind: str = "ssh-ed25519", passphrase: str | None = None) -> str:
    return asyncssh.generate_private_key(kind).export_private_key(passphrase=passphrase).decode()


def test_another_host_key_is_refused_and_its_fingerprint_named(box: Sandbox) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    error = failure(box, stored_anew(box, "wrong.hostkey", hostkey=other))
    assert isinstance(error, HostKeyMismatch)
    assert error.offered is not None
    assert error.offered in str(error)


def test_a_pin_of_a_type_that_the_login_node_has_not_is_refused(box: Sandbox) -> None:
    other = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode()
    error = failure(box, stored_anew(box, "wrong.hostkeytype", hostkey=other))
    assert isinstance(error, HostKeyMismatch)
    assert "ecdsa-sha2-nistp256" in str(error)


def test_one_of_several_pinned_host_keys_is_enough(box: Sandbox) -> None:
    own = box.stored()["hostkey"]
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    prefix = stored_anew(box, "several.hostkeys", hostkey=f"# two nodes\nnode1,10.0.0.1 {other}\n\nnode2 {own}\n")
    with RaijinSession(prefix, ssm=box.ssm()) as session:
        assert session.exec_command("probe silent").ok


@pytest.mark.parametrize("stored", [None, "# none yet\n"])
def test_no_host_key_is_an_error_that_says_how_to_pin_one(box: Sandbox, stored: str | None) -> None:
    error = failure(box, stored_anew(box, f"no.hostkey{len(stored or '')}", hostkey=stored))
    assert isinstance(error, MissingHostKey)
    assert "ssh-keyscan" in str(error)


def test_a_host_key_that_is_none_is_named_by_its_line(box: Sandbox) -> None:
    error = failure(box, stored_anew(box, "bad.hostkey", hostkey="ssh-ed25519 AAAA\n"))
    assert isinstance(error, InvalidHostKey)
    assert "line 1" in str(error)


def test_a_garbled_private_key(box: Sandbox) -> None:
    whole = private_key()
    error = failure(box, stored_anew(box, "garbled.pkey", pkey=whole[:150] + whole[160:]))
    assert type(error) is InvalidPrivateKey
    assert "garbled.pkey.pkey" in str(error)


def test_a_private_key_with_a_passphrase(box: Sandbox) -> None:
    error = failure(box, stored_anew(box, "locked.pkey", pkey=private_key(passphrase="open sesame")))
    assert isinstance(error, PassphraseProtectedKey)


def test_a_missing_parameter_is_named(box: Sandbox) -> None:
    error = failure(box, stored_anew(box, "no.user", user=None))
    assert isinstance(error, MissingParameter)
    assert error.parameters == ("no.user.user",)
    assert "DEA_RAIJIN_USER_PATH" in str(error)


def test_all_missing_parameters_are_named_at_once(box: Sandbox) -> None:
    error = failure(box, "nothing.here")
    assert isinstance(error, MissingParameter)
    assert error.parameters == tuple(f"nothing.here.{part}" for part in PARTS)


def test_a_host_that_is_none(box: Sandbox) -> None:
    assert isinstance(failure(box, stored_anew(box, "bad.host", host="raijin:ssh")), InvalidHost)


@contextlib.contextmanager
def authorization(box: Sandbox) -> Iterator[None]:
    """Have moto check IAM policies while the context is open."""

    def switch(count: str) -> None:
        urllib.request.urlopen(
            urllib.request.Request(
                f"{box.endpoint_url}/moto-api/reset-auth",
                data=count.encode(),
                headers={"Content-Type": "text/plain"},
                method="POST",
            )
        )

    switch("0")
    try:
        yield
    finally:
        switch("inf")


def test_access_denied_says_which_permissions_are_needed(box: Sandbox) -> None:
    admin = boto3.Session(aws_access_key_id="sandbox", aws_secret_access_key="sandbox", region_name="ap-southeast-2")
    iam = admin.client("iam", endpoint_url=box.endpoint_url)
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_user(UserName="nobody")
    made = iam.create_access_key(UserName="nobody")["AccessKey"]
    nobody = boto3.Session(made["AccessKeyId"], made["SecretAccessKey"], region_name="ap-southeast-2")
    with authorization(box), pytest.raises(ParameterAccessDenied, match=r"kms:Decrypt") as raised:
        RaijinSession(box.user_path, ssm=nobody.client("ssm", endpoint_url=box.endpoint_url)).connect()
    assert "orchestrator.raijin.users.default.pkey" in str(raised.value)


def test_a_parameter_store_that_does_not_answer_is_retryable(free_port: int) -> None:
    session = boto3.Session("a", "b", region_name="ap-southeast-2")
    with pytest.raises(ParameterStoreUnavailable) as raised:
        get_ssm_parameter("x", ssm=session.client("ssm", endpoint_url=f"http://127.0.0.1:{free_port}"))
    assert raised.value.retryable


def test_get_ssm_parameter(box: Sandbox) -> None:
    assert get_ssm_parameter(f"{box.user_path}.user", ssm=box.ssm()) == box.user
    with pytest.raises(MissingParameter, match=r"no\.such"):
        get_ssm_parameter("no.such", ssm=box.ssm())


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_refused_port(box: Sandbox, free_port: int) -> None:
    error = failure(box, stored_anew(box, "refused.port", host=f"127.0.0.1:{free_port}"))
    assert isinstance(error, ConnectionRefused)
    assert error.retryable


def test_a_name_that_does_not_resolve(box: Sandbox) -> None:
    assert isinstance(failure(box, stored_anew(box, "no.name", host="raijin.invalid")), HostUnreachable)


def test_a_port_that_never_accepts(box: Sandbox) -> None:
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):  # fill its queue: the kernel drops what comes after
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        begin = time.monotonic()
        error = failure(box, stored_anew(box, "full.port", host=f"127.0.0.1:{listener.getsockname()[1]}"))
    assert isinstance(error, ConnectTimeout)
    assert time.monotonic() - begin < 15


def test_a_silent_port(box: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        begin = time.monotonic()
        error = failure(box, stored_anew(box, "silent.port", host=f"127.0.0.1:{listener.getsockname()[1]}"))
    assert isinstance(error, HandshakeTimeout)
    assert time.monotonic() - begin < 15


@contextlib.contextmanager
def server_that(answers: bytes, *, stays: bool) -> Iterator[int]:
    """Serve one connection: send these bytes, then close or stay silent."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(answers)
                if stays:
                    done.wait(30)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        done.set()
        thread.join()


@pytest.mark.parametrize("answers", [b"", b"SSH-2.", b"SSH-2.0-OpenSSH_9.2\r\n"])
def test_a_login_node_that_closes_during_the_banner(box: Sandbox, answers: bytes) -> None:
    with server_that(answers, stays=False) as port:
        error = failure(box, stored_anew(box, f"closes.{len(answers)}", host=f"127.0.0.1:{port}"))
    assert isinstance(error, ConnectionClosed)
    assert error.retryable


def test_a_login_node_that_stops_after_its_banner(box: Sandbox) -> None:
    begin = time.monotonic()
    with server_that(b"SSH-2.0-OpenSSH_9.2\r\n", stays=True) as port:
        error = failure(box, stored_anew(box, "stops.kex", host=f"127.0.0.1:{port}"))
    assert isinstance(error, HandshakeTimeout)
    assert time.monotonic() - begin < 15


def test_a_port_of_another_service(box: Sandbox) -> None:
    with server_that(b"HTTP/1.1 400 Bad Request\r\n\r\n", stays=False) as port:
        assert isinstance(failure(box, stored_anew(box, "http.port", host=f"127.0.0.1:{port}")), ConnectionClosed)


@pytest.mark.parametrize("changes", [{"user": "nobody-here"}, {"pkey": private_key()}], ids=["user", "key"])
def test_a_wrong_user_or_key(box: Sandbox, changes: dict[str, str]) -> None:
    error = failure(box, stored_anew(box, "wrong." + "".join(changes), **changes))
    assert isinstance(error, AuthenticationFailed)
    assert not error.retryable


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp521", "ssh-rsa"])
@pytest.mark.parametrize("file_format", ["openssh", "pkcs8-pem"])
def test_keys_of_every_supported_kind_log_in(box: Sandbox, kind: str, file_format: str) -> None:
    key = asyncssh.generate_private_key(kind)
    authorized_keys = box.home / ".ssh" / "authorized_keys"
    command = authorized_keys.read_text().split('command="')[1].split('"')[0]
    with authorized_keys.open("a") as lines:
        lines.write(authorized_keys_line(key.export_public_key().decode(), command) + "\n")
    prefix = stored_anew(box, f"{kind}.{file_format}", pkey=key.export_private_key(file_format).decode())
    with RaijinSession(prefix, ssm=box.ssm()) as session:
        assert session.exec_command("probe silent").ok


def test_the_socket_sends_at_once(session: RaijinSession) -> None:
    transport = session.ssh_client.get_transport()
    assert transport is not None
    assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_credentials_are_read_in_one_call(box: Sandbox) -> None:
    ssm = box.ssm()
    asked = []
    ssm.meta.events.register("before-call.ssm.*", lambda model, **_: asked.append(model.name))
    with RaijinSession(box.user_path, ssm=ssm) as session:
        session.exec_command("probe silent")
    assert asked == ["GetParameters"]


def test_neither_the_agent_nor_local_keys_are_used(box: Sandbox, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right key lies in the agent's place and in the home folder; with a wrong one in SSM nobody gets in."""
    right = box.ssm().get_parameter(Name=f"{box.user_path}.pkey", WithDecryption=True)["Parameter"]["Value"]
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519").write_text(right)
    monkeypatch.setenv("HOME", str(tmp_path))
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        agent.listen()
        agent.settimeout(0)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        assert isinstance(failure(box, stored_anew(box, "agent.unused", pkey=private_key())), AuthenticationFailed)
        with pytest.raises(BlockingIOError):
            agent.accept()
