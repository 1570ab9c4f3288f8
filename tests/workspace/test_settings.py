"""function.yaml: its defaults, and one clear error for all that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from dea.workspace import checkout, settings
from dea.workspace.errors import WorkspaceError


def function(folder: Path, text: str | None) -> checkout.Function:
    if text is not None:
        (folder / "function.yaml").write_text(text, "utf-8")
    return checkout.Function("tidy", folder)


@pytest.mark.parametrize("text", [None, "", "# nothing yet\n", "{}"])
def test_every_key_has_a_default(tmp_path: Path, text: str | None) -> None:
    assert settings.read(function(tmp_path, text)) == settings.Settings(
        handler="tidy.handler", python="3.13", architecture="x86_64", memory_mb=512, timeout_s=60
    )


def test_what_it_says_is_taken(tmp_path: Path) -> None:
    text = (
        "handler: tidy.sub.main\npython: 3.12\narchitecture: arm64\nmemory: 128\ntimeout: 900\n"
        "commands: [quota, example]\nservices: [dynamodb, s3]\n"
    )
    assert settings.read(function(tmp_path, text)) == settings.Settings(
        "tidy.sub.main", "3.12", "arm64", 128, 900, ("example", "quota"), ("dynamodb", "s3")
    )


def test_a_service_may_say_what_is_done_with_it(tmp_path: Path) -> None:
    text = """
services:
  - s3
  - sqs: {actions: [sqs:SendMessage, sqs:GetQueueUrl], resources: ["arn:aws:sqs:${AWS::Region}:${AWS::AccountId}:q"]}
  - sqs: {actions: [sqs:ListQueues], resources: ["*"]}
"""
    read = settings.read(function(tmp_path, text))
    assert read.services == ("s3", "sqs")
    assert read.permissions == (
        settings.Permission(
            "sqs", ("sqs:GetQueueUrl", "sqs:SendMessage"), ("arn:aws:sqs:${AWS::Region}:${AWS::AccountId}:q",)
        ),
        settings.Permission("sqs", ("sqs:ListQueues",), ("*",)),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("handler: tidy", "no MODULE.FUNCTION"),
        ("handler: ../x.y", "no MODULE.FUNCTION"),
        ("python: 3.9", "is no supported runtime: choose one of 3.11, 3.12, 3.13"),
        ("python: 3.10", "3.1 is no supported runtime"),
        ("architecture: arm", "choose one of x86_64, arm64"),
        ("memory: 64", "from 128 to 10240"),
        ("memory: true", "from 128 to 10240"),
        ("timeout: 1000", "from 1 to 900"),
        ("timeout: '60'", "from 1 to 900"),
        ("commands: example", "no list of commands' names"),
        ("commands: [../evil]", "no list of commands' names"),
        ("services: s3", "no list of AWS services' names"),
        ("services: [S3]", "has 'S3', which is no AWS service's name"),
        ("services: [{s3: {}, sqs: {}}]", "nor a mapping from one"),
        ("services: [{s3: }]", "has s3 with other keys than its two, actions and resources"),
        ("services: [{s3: {actions: [s3:GetObject]}}]", "has s3 with other keys"),
        (
            "services: [{s3: {actions: ['s3:*'], resources: ['*']}}]",
            "s3: actions is no list of IAM actions, written out",
        ),
        (
            "services: [{s3: {actions: ['s3:Get*'], resources: ['*']}}]",
            "actions is no list of IAM actions, written out",
        ),
        ("services: [{s3: {actions: [GetObject], resources: ['*']}}]", "actions is no list of IAM actions"),
        ("services: [{s3: {actions: [], resources: ['*']}}]", "actions is no list of IAM actions"),
        ("services: [{s3: {actions: [s3:GetObject], resources: [bucket]}}]", "resources is no list of ARNs"),
        ("services: [{s3: {actions: [s3:GetObject], resources: '*'}}]", "resources is no list of ARNs"),
        ("colour: red", "there is no key 'colour'"),
        ("3: x", "there is no key 3"),
        ("[1, 2]", "holds no mapping"),
        ("a: [", "is not valid YAML"),
        ("timeout: 2020-02-30", "is not valid YAML: day is out of range"),
        ("memory: 128\ntimeout: 60\nmemory: 256", "the key 'memory' is there twice"),
        (
            "services: [{s3: {actions: [s3:GetObject], actions: [], resources: ['*']}}]",
            "the key 'actions' is there twice",
        ),
    ],
)
def test_what_cannot_be_is_one_clear_error(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(WorkspaceError) as caught:
        settings.read(function(tmp_path, text))
    assert said in str(caught.value)
    assert "function.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"no key 'x'.*memory.*timeout"):
        settings.read(function(tmp_path, "x: 1\nmemory: 1\ntimeout: 0\n"))
