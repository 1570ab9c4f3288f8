"""Reading what SSM holds, without SSM."""

from __future__ import annotations

import asyncssh
import pytest

from dea.raijin import (
    InvalidHost,
    InvalidPrivateKey,
    ParameterStoreNotConfigured,
    get_ssm_parameter,
    load_credentials,
)
from dea.raijin.credentials import parse_host, parse_host_keys, parse_private_key, user_path_from


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("raijin.nci.org.au", ("raijin.nci.org.au", 22)),
        (" raijin:2222\n", ("raijin", 2222)),
        ("[::1]:2222", ("::1", 2222)),
        ("[::1]", ("::1", 22)),
        ("fe80::1", ("fe80::1", 22)),
    ],
)
def test_hosts(text: str, host: tuple[str, int]) -> None:
    assert parse_host(text, "p") == host


@pytest.mark.parametrize("text", ["", ":22", "a:", "a:x", "a:0", "a:65536", "a b", "[::1", "[::1]22", "a:\u0662\u0662"])
def test_no_hosts(text: str) -> None:
    with pytest.raises(InvalidHost, match="SSM parameter p "):
        parse_host(text, "p")


def test_a_key_stored_with_other_line_ends_and_margins_is_read() -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    text = key.export_private_key().decode()
    mangled = "\r\n".join(f"  {line} " for line in text.splitlines())
    fingerprint = parse_private_key(mangled, "p").fingerprint
    assert fingerprint == key.get_fingerprint()


def test_a_key_of_another_type_is_named_unsupported() -> None:
    text = asyncssh.generate_private_key("ssh-ed448").export_private_key("pkcs8-pem").decode()
    with pytest.raises(InvalidPrivateKey, match="unsupported type"):
        parse_private_key(text, "p")


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
@pytest.mark.parametrize(
    "form", ["{key}", "{key} a comment", "host {key}", "@cert-authority host {key}", "[host]:2222,10.0.0.1 {key}"]
)
def test_host_keys_are_read_as_files_and_scans_have_them(kind: str, form: str) -> None:
    key = asyncssh.generate_private_key(kind)
    line = form.format(key=" ".join(key.export_public_key().decode().split()[:2]))
    (read,) = parse_host_keys(f"# a comment\n\n{line}\n", "p")
    assert read.fingerprint == key.get_fingerprint()


def test_the_prefix_comes_from_the_environment() -> None:
    assert user_path_from({}) == "orchestrator.raijin.users.default"
    assert user_path_from({"DEA_RAIJIN_USER_PATH": ""}) == "orchestrator.raijin.users.default"
    assert user_path_from({"DEA_RAIJIN_USER_PATH": "x.y"}) == "x.y"


def test_without_a_region_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    with pytest.raises(ParameterStoreNotConfigured, match="AWS_DEFAULT_REGION"):
        load_credentials()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [("AWS_PROFILE", "nobody", r"profile \(nobody\)"), ("AWS_DEFAULT_REGION", "no region", "'no region'")],
)
def test_settings_that_cannot_be_used_are_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "ap-southeast-2")
    monkeypatch.setenv(variable, value)
    with pytest.raises(ParameterStoreNotConfigured, match=f"{said}.*: mend the AWS settings") as raised:
        load_credentials()
    assert not raised.value.retryable


def test_a_request_that_is_none_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "ap-southeast-2")
    with pytest.raises(ParameterStoreNotConfigured, match=r"Names\[0\]") as raised:
        get_ssm_parameter("")
    assert "\n" not in str(raised.value)


def test_without_aws_credentials_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-southeast-2")
    with pytest.raises(ParameterStoreNotConfigured, match="aws configure"):
        load_credentials()
