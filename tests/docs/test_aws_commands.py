"""The AWS CLI's commands in the pages exist, with these options: compared with AWS's own descriptions, which botocore has."""

from __future__ import annotations

import re
import shlex

import botocore.session
import pytest
from botocore import xform_name

from tests.docs.pages import PAGES, blocks, read

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


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_call_of_the_aws_cli_exists_with_its_options(page: str, command: str) -> None:
    words = shlex.split(command.partition(" > ")[0])
    assert words[0] == "aws"
    if (words[1], words[2]) in OF_THE_CLI:
        return
    service, operation = words[1], words[2]
    model = botocore.session.get_session().get_service_model(service)
    names = {xform_name(name, "-"): name for name in model.operation_names}
    assert operation in names, f"{service} has no {operation}"
    shape = model.operation_model(names[operation]).input_shape
    members = {f"--{xform_name(name, '-')}": name for name in (shape.members if shape else {})}
    flags = {f"--no-{name[2:]}" for name in members}
    given = [word for word in words[3:] if word.startswith("--")]
    spelled = [SPELLED_OTHERWISE.get((service, operation, word), word) for word in given]
    assert set(spelled) - set(members) - flags - GLOBAL == set(), command
    required = {f"--{xform_name(name, '-')}" for name in (shape.required_members if shape else [])}
    assert required <= set(spelled), command


def test_there_are_such_calls() -> None:
    assert len(commands()) > 20
