"""env_vars.yaml: the documented form, the two older ones, and what each mistake is told."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from dea.workspace import environment
from dea.workspace.errors import WorkspaceError
from dea.workspace.sandbox import aws

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

DOCUMENTED = """
variables:
  - name: AGE
    description: How old.
    required: true
  - name: BUCKET
    default: trash
environments:
  default: {AGE: 72}
  production:
    AGE: 168
    VERBOSE: yes
    RATIO: 0.5
  empty:
"""


@pytest.fixture
def read(tmp_path: Path):
    """Write a text as env_vars.yaml and read it."""

    def write_and_read(text: str) -> environment.EnvironmentFile:
        (tmp_path / "env_vars.yaml").write_text(text, "utf-8")
        return environment.read(tmp_path / "env_vars.yaml")

    return write_and_read


def test_values_come_from_the_environment_asked_for(read) -> None:
    declared = read(DOCUMENTED)
    assert declared.resolve(None, {}, {}).values == {"AGE": "72", "BUCKET": "trash"}
    assert declared.resolve("production", {}, {}).values == {
        "AGE": "168",
        "VERBOSE": "true",
        "RATIO": "0.5",
        "BUCKET": "trash",
    }


def test_the_file_wins_over_the_shell_and_what_was_replaced_is_named(read) -> None:
    resolved = read(DOCUMENTED).resolve(None, {}, {"AGE": "1", "BUCKET": "mine", "OTHER": "x"})
    assert resolved.values == {"AGE": "72"}  # a default does not replace what the shell has
    assert resolved.replaced == ["AGE"]


def test_set_wins_over_both(read) -> None:
    resolved = read(DOCUMENTED).resolve(None, {"AGE": "5", "NEW": "x"}, {"AGE": "1"})
    assert resolved.values == {"AGE": "5", "NEW": "x", "BUCKET": "trash"}
    assert resolved.replaced == ["AGE"]


def test_a_required_variable_may_come_from_the_shell(read) -> None:
    assert read(DOCUMENTED).resolve("empty", {}, {"AGE": "1"}).values == {"BUCKET": "trash"}


def test_a_plain_mapping_is_the_default_environment(read) -> None:
    assert read("A: 1\nB: two\n").resolve(None, {}, {}).values == {"A": "1", "B": "two"}


def test_a_mapping_per_environment_is_read(read) -> None:
    declared = read("default: {A: 1}\nprod: {A: 2}\n")
    assert declared.resolve("prod", {}, {}).values == {"A": "2"}


def test_an_empty_file_has_no_variables(read) -> None:
    assert read("").resolve(None, {}, {}).values == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A: {ssm: a b}", "A: 'a b' cannot be the name of an SSM parameter"),
        ("A: {ssm: path/without/a/slash/before}", "cannot be the name of an SSM parameter"),
        ("A: {ssm: 5}", "A: 5 cannot be the name"),
        ("A: {ssm: }", "A: None cannot be the name"),
        ("environments: {default: {A: {ssm: x, other: y}}}", "A is a mapping"),
        ("variables: [{name: A, default: {ssm: //}}]", "A: '//' cannot be the name"),
        ("A: [1]", "A is a list"),
        ("A: null", "A is a null"),
        ("A: 2020-01-01", "A is a date"),
        ("environments: {default: {A: {b: c}}}", "A is a mapping"),
        ("environments: [a]", "`environments` is a list"),
        ("environments: {default: [a]}", "environment 'default' is a list"),
        ("variables: [{description: x}]", "no `name`"),
        ("variables: [{name: A, requried: true}]", "unknown keys: requried"),
        ("variables: [{name: A, required: maybe}]", "`required` is true or false"),
        ("variables: [{name: A}, {name: A}]", "documented twice"),
        ("variables: x", "`variables` is a string"),
        ("variables: []\nenvironment: {}", "unknown keys: environment"),
        ("- A", "holds a list"),
        ("A: 'x", "not valid YAML"),
        ("A: 2020-02-30", "not valid YAML: day is out of range"),
        ("A: 1\nA: 2", "the key 'A' is there twice"),
        ("A-B: 1", "cannot be the name"),
        ('A: "a\\0b"', "NUL"),
    ],
)
def test_each_mistake_is_told_with_the_files_name(read, text: str, said: str) -> None:
    with pytest.raises(WorkspaceError) as raised:
        read(text)
    assert said in str(raised.value)
    assert "env_vars.yaml" in str(raised.value)


def test_an_undeclared_environment_is_told_with_the_choices(read) -> None:
    with pytest.raises(
        WorkspaceError, match=r"env_vars\.yaml declares no environment 'prod': choose one of default, production, empty"
    ):
        read(DOCUMENTED).resolve("prod", {}, {})


def test_a_missing_required_variable_is_told(read) -> None:
    with pytest.raises(
        WorkspaceError, match=r"env_vars\.yaml: required variables without a value in environment 'empty': AGE"
    ):
        read(DOCUMENTED).resolve("empty", {}, {})


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"env_vars\.yaml is missing"):
        environment.read(tmp_path / "env_vars.yaml")


SECRET = "s3cr3t-value"
KEPT = """
variables:
  - name: TOKEN
    required: true
    default: {ssm: dea.token}
  - name: OTHER
    default: plain
environments:
  default: {OTHER: {ssm: /dea/other}}
  plain: {TOKEN: written}
"""


def test_a_value_may_be_the_name_of_an_ssm_parameter(read) -> None:
    declared = read(KEPT)
    assert declared.resolve(None, {}, {}) == environment.Resolved({}, [], {"TOKEN": "dea.token", "OTHER": "/dea/other"})
    assert declared.resolve("plain", {}, {}).parameters == {}
    assert declared.resolve(None, {"TOKEN": "x"}, {"OTHER": "y"}) == environment.Resolved(
        {"TOKEN": "x"}, ["OTHER"], {"OTHER": "/dea/other"}
    )


@pytest.mark.parametrize("text", ["TOKEN: {ssm: dea.token}\n", "TOKEN: {ssm: dea.token}\nPLAIN: 1\n"])
def test_a_plain_mapping_may_name_parameters_too(read, text: str) -> None:
    assert read(text).resolve(None, {}, {}).parameters == {"TOKEN": "dea.token"}


def test_what_is_shown_of_a_parameter_is_its_name(read) -> None:
    assert read(KEPT).resolve(None, {}, {"OTHER": "y"}).shown() == [
        "OTHER=(from SSM parameter /dea/other)  (replaces the shell's)",
        "TOKEN=(from SSM parameter dea.token)",
    ]


@pytest.fixture(scope="module")
def ssm(aws_endpoint: str) -> SSMClient:
    """A client of moto's server, which holds twelve SecureStrings."""
    aws.store(aws_endpoint, "ap-southeast-2", {f"dea.p{number}": f"{SECRET}-{number}" for number in range(12)})
    session = boto3.Session("key", "secret", region_name="ap-southeast-2")
    return session.client("ssm", endpoint_url=aws_endpoint, config=Config(proxies={}))


def test_parameters_are_read_decrypted_ten_at_a_time(ssm: SSMClient) -> None:
    asked: list[list[str]] = []
    ssm.meta.events.register(
        "provide-client-params.ssm.GetParameters", lambda params, **_: asked.append(params["Names"])
    )
    parameters = {f"V{number}": f"dea.p{number}" for number in range(12)} | {"AGAIN": "dea.p0"}
    assert environment.fetch(parameters, ssm) == {
        **{f"V{number}": f"{SECRET}-{number}" for number in range(12)},
        "AGAIN": f"{SECRET}-0",
    }
    assert [len(names) for names in asked] == [10, 2]


def test_without_parameters_nobody_is_asked() -> None:
    assert environment.fetch({}, None) == {}


def test_a_parameter_that_does_not_exist_is_told_with_its_variable(ssm: SSMClient) -> None:
    with pytest.raises(WorkspaceError) as raised:
        environment.fetch({"TOKEN": "dea.gone", "KNOWN": "dea.p0"}, ssm)
    said = str(raised.value)
    assert said.startswith("TOKEN: SSM parameters that do not exist in this account and region: dea.gone; store it")
    assert said.endswith("--set TOKEN=VALUE")
    assert SECRET not in said


def test_a_parameter_that_may_not_be_read_is_told(ssm: SSMClient) -> None:
    stubbed = boto3.Session("key", "secret", region_name="ap-southeast-2").client("ssm")
    with Stubber(stubbed) as stub:
        stub.add_client_error("get_parameters", "AccessDeniedException", "not authorized", HTTPStatus.BAD_REQUEST)
        with pytest.raises(
            WorkspaceError, match=r"TOKEN: reading dea\.token was denied: the role needs ssm:GetParameters"
        ):
            environment.fetch({"TOKEN": "dea.token"}, stubbed)


def test_without_a_region_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WorkspaceError, match="set AWS_DEFAULT_REGION"):
        environment.fetch({"TOKEN": "dea.token"}, None)


@pytest.mark.parametrize("text", ["A", "=x", "A-B=1", "1A=1"])
def test_a_setting_that_is_none_is_told(text: str) -> None:
    with pytest.raises(WorkspaceError, match="NAME=VALUE"):
        environment.parse_settings([text])


@pytest.mark.parametrize(
    "name",
    [
        "API_TOKEN",
        "db_password",
        "AWS_SECRET_ACCESS_KEY",
        "PRIVATE_KEY",
        "DEA_PKEY",
        "DB_PASS",
        "APIKEY",
        "API_KEYS",
        "DB_PWD",
    ],
)
def test_values_of_secret_names_are_hidden(name: str) -> None:
    assert environment.shown_value(name, "x") == "(hidden)"
    assert environment.shown_value("KEYWORDS", "x") == "x"
    assert environment.shown_value("DATABASE_URL", "postgres://u:pw@h/db") == "(hidden)"
