"""env_vars.yaml: the documented form, the two older ones, and what each mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from dea.workspace import environment
from dea.workspace.errors import WorkspaceError

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
