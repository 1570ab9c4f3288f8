"""The AWS CLI's commands in the pages exist, with these options and values: compared with AWS's descriptions, which botocore has."""

from __future__ import annotations

import functools
import re
import shlex

import botocore.session
import pytest
from botocore import xform_name
from botocore.model import ListShape, OperationModel, Shape, StringShape, StructureShape

from tests.docs.pages import PAGES, blocks, codes, prose, read

# What the CLI adds to AWS's own operations: nothing describes their options.
OF_THE_CLI = {
    ("cloudformation", "deploy"),
    ("cloudformation", "package"),
    ("logs", "tail"),
    ("s3", "cp"),
    ("s3", "sync"),
}
# Options of the CLI itself, and those with which it spells a member of the request otherwise.
GLOBAL = {"--query", "--output", "--cli-binary-format", "--region", "--profile"}
SPELLED_OTHERWISE = {("lambda", "create-function", "--zip-file"): "--code"}
# One `NAME=VALUE` of the CLI's shorthand for a structure; the value may be a structure in braces.
PAIR = re.compile(r"(?:^|,)(\w+)=(\{[^}]*\}|[^,]*)")


def commands() -> list[tuple[str, str]]:
    """Return each call of `aws` in a page's console blocks, continuation lines joined, with the page."""
    found = []
    for page in PAGES:
        for block in blocks(read(page)):
            if block.language == "console":
                text = re.sub(r"\\\n\s*", " ", block.text)
                for line in text.splitlines():
                    inner = re.findall(r"\$\((aws [^)]*)\)", line)
                    found += [(page, command) for command in inner]
                    if line.startswith("$ aws "):
                        found.append((page, re.sub(r"\$\([^)]*\)", "VALUE", line.removeprefix("$ "))))
    return found


def mentioned() -> list[tuple[str, str]]:
    """Return each call of `aws` in a page's sentences, which need not be whole, with the page."""
    found = [(page, " ".join(code.split())) for page in PAGES for code in codes(prose(read(page)))]
    return [(page, code) for page, code in found if re.match(r"aws [a-z0-9]+ [a-z]", code)]


@functools.cache
def operation_of(service: str, operation: str) -> OperationModel:
    model = botocore.session.get_session().get_service_model(service)
    names = {xform_name(name, "-"): name for name in model.operation_names}
    assert operation in names, f"{service} has no {operation}"
    return model.operation_model(names[operation])


def given_in(words: list[str]) -> dict[str, list[str]]:
    """Return the options of a call, each with its values."""
    given: dict[str, list[str]] = {}
    for word in words[3:]:
        if word.startswith("--"):
            option = SPELLED_OTHERWISE.get((words[1], words[2], word), word)
            given[option] = []
        else:
            given[option].append(word)
    return given


def wrong_in(shape: Shape, value: str) -> list[str]:
    """Return what is in a value and not in AWS's description of it: names in a structure, words of an enumeration."""
    if value.startswith(("file://", "fileb://")):
        return []
    if isinstance(shape, ListShape):
        return wrong_in(shape.member, value)
    if isinstance(shape, StructureShape):
        pairs = PAIR.findall(value) or [(value, "")]
        known = [(name, inner) for name, inner in pairs if name in shape.members]
        wrong = [one for name, inner in known for one in wrong_in(shape.members[name], inner.strip("{}"))]
        return [*(name for name, _ in pairs if name not in shape.members), *wrong]
    if isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
        return [value]
    return []


def check_options(words: list[str]) -> OperationModel:
    """Check that there is such an operation with these options and values."""
    operation = operation_of(words[1], words[2])
    shape = operation.input_shape
    members = {f"--{xform_name(name, '-')}": member for name, member in (shape.members if shape else {}).items()}
    given = given_in(words)
    assert set(given) - set(members) - {f"--no-{name[2:]}" for name in members} - GLOBAL == set()
    told = [(members[name], value) for name in given if name in members for value in given[name]]
    assert [one for member, value in told for one in wrong_in(member, value)] == []
    return operation


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_call_of_the_aws_cli_exists_with_its_options(page: str, command: str) -> None:
    words = shlex.split(command.partition(" > ")[0])
    assert words[0] == "aws"
    if (words[1], words[2]) in OF_THE_CLI:
        return
    shape = check_options(words).input_shape
    required = {f"--{xform_name(name, '-')}" for name in (shape.required_members if shape else [])}
    assert required <= set(given_in(words)), command


@pytest.mark.parametrize(("page", "command"), mentioned())
def test_a_call_of_the_aws_cli_in_a_sentence_exists(page: str, command: str) -> None:
    check_options(shlex.split(command))


def test_there_are_such_calls() -> None:
    assert len(commands()) > 20
    assert len(mentioned()) > 2


@pytest.mark.parametrize(
    "command",
    [
        "aws lambda publish-versions --function-name x",
        "aws lambda publish-version --function x",
        "aws lambda create-function --runtime python3.99",
        "aws lambda create-function --architectures x86",
        "aws lambda create-function --logging-config LogFormat=JSON,LogLevel=INFO",
        "aws lambda create-function --logging-config LogFormat=XML",
        "aws lambda update-function-configuration --vpc-config SubnetIds=A,B,SecurityGroups=C",
        "aws lambda put-function-event-invoke-config --destination-config OnFailure={Queue=x}",
        "aws scheduler create-schedule --flexible-time-window OFF",
    ],
)
def test_what_aws_does_not_know_is_found(command: str) -> None:
    with pytest.raises(AssertionError):
        check_options(command.split())
