"""The least policy: what is in it, what is not, that cfn-lint knows each part, and that the sandbox holds a function to it."""

from __future__ import annotations

import getpass
import json
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from dea.lambdas.jobs import EventBus, JobsTable, recorded
from dea.raijin import ParameterAccessDenied, RaijinSession
from dea.remote.contract.job import Job, Submitted
from dea.workspace import checkout, environment, policy, run_lambda
from dea.workspace.errors import WorkspaceError
from dea.workspace.sandbox import ACCOUNT, REGION, sandbox
from tests.workspace.test_tasks import inv

PLACE = policy.Place("123456789012", "ap-southeast-2")
PARAMETER = "arn:aws:ssm:ap-southeast-2:123456789012:parameter/"
USES_NODE = "from dea.lambdas import RaijinCommand\n"
SERVICES = """
services:
  - dynamodb:
      actions: [dynamodb:PutItem, dynamodb:GetItem]
      resources: ['arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/runs']
  - cloudwatch:
      actions: [cloudwatch:PutMetricData]
      resources: ['*']
"""


def made(folder: Path, source: str = "", settings: str = "") -> checkout.Function:
    (folder / "made.py").write_text(source, "utf-8")
    (folder / "function.yaml").write_text(settings, "utf-8")
    return checkout.Function("made", folder)


def statements(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["Sid"]: one for one in document["Statement"]}


def lint(document: dict[str, Any]) -> list[str]:
    """Return what cfn-lint has against a policy, in a template."""
    import cfnlint.api

    properties = {"PolicyName": "least", "RoleName": "role", "PolicyDocument": document}
    template = {"Resources": {"Policy": {"Type": "AWS::IAM::RolePolicy", "Properties": properties}}}
    # I3510: whether each action can be used on each resource.
    found = cfnlint.api.lint(json.dumps(template), config={"include_checks": ["I3510"]})
    return [str(match) for match in found]


def under_sub(value: Any) -> Any:
    """Return a part of a policy as a template has it: CloudFormation's names under `Fn::Sub`."""
    match value:
        case dict():
            return {key: under_sub(one) for key, one in value.items()}
        case list():
            return [under_sub(one) for one in value]
        case str() if "${" in value:
            return {"Fn::Sub": value}
    return value


def test_a_function_that_talks_to_the_login_node_may_read_its_four_parameters(tmp_path: Path) -> None:
    document = policy.document(made(tmp_path, USES_NODE), {"DEA_RAIJIN_USER_PATH": "dea.cleaner"}, PLACE)
    names = [f"{PARAMETER}dea.cleaner.{part}" for part in ("host", "hostkey", "pkey", "user")]
    found = statements(document)
    assert list(found) == ["ReadParameters", "DecryptParameters", "WriteLog"]
    assert found["ReadParameters"] == {
        "Sid": "ReadParameters",
        "Effect": "Allow",
        "Action": ["ssm:GetParameters"],
        "Resource": names,
    }
    assert found["DecryptParameters"]["Condition"] == {
        "StringEquals": {
            "kms:EncryptionContext:PARAMETER_ARN": names,
            "kms:ViaService": "ssm.ap-southeast-2.amazonaws.com",
        }
    }
    assert found["DecryptParameters"]["Resource"] == ["arn:aws:kms:ap-southeast-2:123456789012:key/*"]
    assert lint(document) == []


def test_one_that_does_not_may_write_its_own_log_and_nothing_else(tmp_path: Path) -> None:
    document = policy.document(made(tmp_path), {"PLAIN": "1"}, PLACE, function_name="made-prod")
    assert document["Statement"] == [
        {
            "Sid": "WriteLog",
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": ["arn:aws:logs:ap-southeast-2:123456789012:log-group:/aws/lambda/made-prod:*"],
        }
    ]
    assert lint(document) == []


def test_parameters_of_variables_and_of_the_source_are_in_it(tmp_path: Path) -> None:
    source = "from dea.raijin import RaijinSession, get_ssm_parameter\nRaijinSession('own')\nget_ssm_parameter('one')\n"
    variables = {"TOKEN": environment.SsmParameter("/dea/token"), "AMI": environment.SsmParameter("/aws/service/x")}
    key = "arn:aws:kms:ap-southeast-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    document = policy.document(made(tmp_path, source), variables, PLACE, key_arn=key)
    found = statements(document)
    own = [f"{PARAMETER}{name}" for name in ("dea/token", "one", "own.host", "own.hostkey", "own.pkey", "own.user")]
    assert found["ReadParameters"]["Resource"] == sorted([*own, "arn:aws:ssm:ap-southeast-2::parameter/aws/service/x"])
    assert found["DecryptParameters"]["Condition"]["StringEquals"]["kms:EncryptionContext:PARAMETER_ARN"] == own
    assert found["DecryptParameters"]["Resource"] == [key]
    assert lint(document) == []


def test_declared_actions_are_in_it_in_their_place(tmp_path: Path) -> None:
    document = policy.document(made(tmp_path, settings=SERVICES), {}, PLACE)
    found = statements(document)
    assert found["Use1"]["Action"] == ["dynamodb:GetItem", "dynamodb:PutItem"]
    assert found["Use1"]["Resource"] == ["arn:aws:dynamodb:ap-southeast-2:123456789012:table/runs"]
    assert found["Use2"]["Resource"] == ["*"]
    assert lint(document) == []


def test_a_service_without_actions_is_an_error_that_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"function\.yaml: services: s3 without actions.*write - s3: \{actions: "):
        policy.document(made(tmp_path, settings="services: [s3]\n"), {}, PLACE)


def test_the_prefix_itself_is_no_parameter(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="is no secret itself"):
        policy.document(made(tmp_path, USES_NODE), {"DEA_RAIJIN_USER_PATH": environment.SsmParameter("x")}, PLACE)


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("eu-west-1", "aws"),
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("${AWS::Region}", "${AWS::Partition}"),
    ],
)
def test_each_region_has_its_partition(region: str, partition: str) -> None:
    assert policy.Place("123456789012", region).partition == partition


def test_the_checker_finds_what_is_wrong() -> None:
    """What passes it means something."""
    place = "arn:aws:sqs:ap-southeast-2:123456789012"
    for action, resource, rule in (
        ("ssm:GetParametres", f"{PARAMETER}x", "W3037"),
        ("ssm:GetParameters", "parameter/x", "E3510"),
        ("ssm:GetParameters", f"{place}:queue", "I3510"),
    ):
        wrong = {"Effect": "Allow", "Action": [action], "Resource": [resource]}
        assert rule in " ".join(lint({"Version": "2012-10-17", "Statement": [wrong]})), rule


def test_the_task_prints_the_policy_of_every_function_for_each_environment() -> None:
    for function in checkout.functions().values():
        declared = environment.read(function.folder / environment.FILE_NAME)
        for name in declared.environments:
            place = ("--account", "123456789012", "--region", "ap-southeast-2", "--environment", name)
            done = inv("policy", "--name", function.name, *place)
            assert done.returncode == 0, done.stderr
            assert lint(json.loads(done.stdout)) == []
            assert f"create-log-group --log-group-name /aws/lambda/{function.name}" in done.stderr


@pytest.mark.parametrize(
    ("given", "region", "said"),
    [
        (
            (),
            "",
            "${AWS::AccountId} and ${AWS::Region} in it: give --account and --region for the values, or put what holds them under Fn::Sub",
        ),
        (("--account", "123456789012"), "", "the policy has ${AWS::Region} in it: give --region "),
        (("--region", "eu-west-1"), "", "the policy has ${AWS::AccountId} in it: give --account "),
        ((), "eu-west-1", "the policy has ${AWS::AccountId} in it: give --account "),
        (("--account", "${AWS::AccountId}", "--region", "${AWS::Region}"), "", ""),
    ],
)
def test_without_a_place_it_has_cloudformations_names_and_a_remark_says_so(
    given: tuple[str, ...], region: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    if region:
        monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    done = inv("policy", "--name", "example", *given)
    assert done.returncode == 0, done.stderr
    assert lint(under_sub(json.loads(done.stdout))) == []
    assert said in done.stderr
    assert ("in it: give" in done.stderr) == bool(said)
    (log,) = statements(json.loads(done.stdout))["WriteLog"]["Resource"]
    account = "123456789012" if "123456789012" in given else "${AWS::AccountId}"
    partition, place = (
        ("aws", "eu-west-1") if region or "eu-west-1" in given else ("${AWS::Partition}", "${AWS::Region}")
    )
    assert log == f"arn:{partition}:logs:{place}:{account}:log-group:/aws/lambda/example:*"


@pytest.mark.parametrize("service", ["s3", "ssm"])
def test_a_service_that_boto3_is_asked_for_without_a_word_is_an_error_that_says_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], service: str
) -> None:
    function = made(tmp_path, f"{USES_NODE}import boto3\nboto3.client(service_name='{service}')\n")
    (tmp_path / "env_vars.yaml").touch()
    monkeypatch.setattr(policy.checkout, "function", lambda name: function)
    place = {
        "environment_name": None,
        "account": PLACE.account,
        "region": PLACE.region,
        "key_arn": "",
        "function_name": "",
    }
    said = rf"function\.yaml: services does not say .* {service} \(made\.py:3\); write - {service}: {{{{actions: "
    with pytest.raises(WorkspaceError, match=said.replace("{{", "{").replace("{actions", r"\{actions")):
        policy.show("made", **place)  # type: ignore[arg-type]
    (tmp_path / "function.yaml").write_text(
        f"services: [{{{service}: {{actions: ['{service}:ListX'], resources: ['*']}}}}]\n"
    )
    policy.show("made", **place)  # type: ignore[arg-type]
    assert f"{service}:ListX" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--region", "moon"), "--region 'moon' is no AWS region"),
        (("--region", "eu-west-1", "--account", "12"), "--account '12' is no AWS account's id"),
        (
            ("--region", "eu-west-1", "--account", "123456789012", "--key-arn", "arn:aws:kms:eu-west-1:1:alias/x"),
            "aws kms describe-key",
        ),
        (
            ("--region", "eu-west-1", "--account", "123456789012", "--function-name", "a b"),
            "cannot be a function's name",
        ),
        (("--environment", "nope", "--region", "eu-west-1", "--account", "123456789012"), "declares no environment"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    done = inv("policy", "--name", "example", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_on_the_sandbox_a_function_may_do_what_its_policy_says_and_nothing_else() -> None:
    function = checkout.function("example")
    document = policy.document(function, {}, policy.Place(ACCOUNT, REGION))
    with sandbox() as box:
        with box.restricted(document) as role:
            session = boto3.Session(*role.values(), region_name=REGION)
            ssm = session.client("ssm", endpoint_url=box.endpoint_url)
            with RaijinSession(box.user_path, ssm=ssm) as raijin:
                assert raijin.exec_command("example").ok
            name = f"{box.user_path}.pkey"
            for refused in (
                lambda: ssm.get_parameter(Name=name, WithDecryption=True),
                lambda: ssm.put_parameter(Name=name, Value="x", Overwrite=True),
                lambda: session.client("dynamodb", endpoint_url=box.endpoint_url).list_tables(),
                lambda: session.client("logs", endpoint_url=box.endpoint_url).create_log_group(logGroupName="x"),
            ):
                with pytest.raises(ClientError, match="not authorized to perform"):
                    refused()
            with pytest.raises(ParameterAccessDenied), box.session() as raijin:
                raijin.exec_command("example")
        with box.session() as raijin:
            assert raijin.exec_command("example").ok  # as before


def test_run_lambda_holds_a_function_to_its_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    source = """
import os
import boto3

def handler(event, context):
    try:
        boto3.client("sqs").list_queues()
    except Exception as error:
        return [str(error), os.environ["SEEN"]]
"""
    function = made(tmp_path, source)
    (tmp_path / "env_vars.yaml").write_text("SEEN: {ssm: orchestrator.raijin.users.default.user}\n")
    monkeypatch.setattr(run_lambda.checkout, "function", lambda name: function)
    run_lambda.run("made", from_source=True)
    out, err = capfd.readouterr()
    refused, seen = json.loads(out)
    assert "not authorized to perform: sqs:ListQueues" in refused
    assert seen == getpass.getuser()
    assert "SEEN=(from SSM parameter orchestrator.raijin.users.default.user)" in err
    declared = "services: [{sqs: {actions: [sqs:ListQueues], resources: ['*']}}]\n"
    made(tmp_path, source, declared)
    run_lambda.run("made", from_source=True)
    assert capfd.readouterr().out == "null\n"
    made(tmp_path, source, "services: [sqs]\n")
    run_lambda.run("made", from_source=True)
    out, err = capfd.readouterr()
    assert out == "null\n"
    assert "the sandbox checks no permissions of the function: " in err


NAMED = """
services:
  - dynamodb:
      actions: [dynamodb:PutItem]
      resources: ['arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/${DEA_JOBS_TABLE}/index/open']
"""


def test_a_resource_can_be_named_by_a_variable(tmp_path: Path) -> None:
    document = policy.document(made(tmp_path, settings=NAMED), {"DEA_JOBS_TABLE": "jobs-prod"}, PLACE)
    [resource] = statements(document)["Use1"]["Resource"]
    assert resource == "arn:aws:dynamodb:ap-southeast-2:123456789012:table/jobs-prod/index/open"
    assert lint(document) == []


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "DEA_JOBS_TABLE has no value that is written down in env_vars.yaml"),
        ({"DEA_JOBS_TABLE": environment.SsmParameter("x")}, "DEA_JOBS_TABLE has no value that is written down"),
        ({"DEA_JOBS_TABLE": "*"}, r"DEA_JOBS_TABLE holds '\*'"),
        ({"DEA_JOBS_TABLE": "a/b"}, "DEA_JOBS_TABLE holds 'a/b'"),
        ({"DEA_JOBS_TABLE": ""}, "DEA_JOBS_TABLE holds ''"),
        ({"DEA_JOBS_TABLE": "${AWS::Region}"}, "DEA_JOBS_TABLE holds"),
    ],
)
def test_a_variable_that_holds_no_name_is_an_error(tmp_path: Path, variables: dict[str, Any], said: str) -> None:
    with pytest.raises(
        WorkspaceError, match=rf"function\.yaml: services: \$\{{DEA_JOBS_TABLE\}} in a resource: {said}"
    ):
        policy.document(made(tmp_path, settings=NAMED), variables, PLACE)


def test_what_the_functions_of_jobs_do_their_policies_allow_and_nothing_else() -> None:
    submitted = Submitted("pbs", "1.gadi-pbs", None, "tidy", "2026-01-01T00:00:00Z")
    first = recorded(submitted, run_id="run-00000001", command="submit_job", now=submitted.submitted)
    seen = first.seen(Job("1.gadi-pbs", "running"), "2026-01-01T01:00:00Z", now="2026-01-01T01:00:00Z", lost_after_s=1)
    assert seen is not None
    with sandbox() as box:
        for name, acts, refused in (
            ("submit_job", ("record", "find"), ("send", "since")),
            ("track_jobs", ("followed", "write", "send", "settle"), ("since", "delete")),
            ("cancel_job", ("find", "write", "send", "settle"), ("since", "delete")),
        ):
            function = checkout.function(name)
            values = environment.read(function.folder / environment.FILE_NAME).values(None)
            with box.restricted(policy.document(function, values, policy.Place(ACCOUNT, REGION))) as role:
                session = boto3.Session(*role.values(), region_name=REGION)
                client = session.client("dynamodb", endpoint_url=box.endpoint_url)
                table = JobsTable(str(values["DEA_JOBS_TABLE"]), client)
                bus = EventBus("default", session.client("events", endpoint_url=box.endpoint_url))
                each = {
                    "record": partial(table.record, first),
                    "find": partial(table.find, "1.gadi-pbs"),
                    "followed": table.followed,
                    "write": partial(table.write, [seen]),
                    "send": partial(bus.send, [seen]),
                    "settle": partial(table.settle, [seen.told()]),
                    "since": lambda table=table: list(table.since("")),
                    "delete": partial(client.delete_table, TableName="dea-jobs"),
                }
                for act in acts:
                    each[act]()
                for act in refused:
                    with pytest.raises(ClientError, match="not authorized to perform"):
                        each[act]()
