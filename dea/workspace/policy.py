"""Makes the least IAM policy that a function needs: `inv policy`.

It comes from what is written down: the function's source, `env_vars.yaml` and `function.yaml`. AWS is not asked. What no
policy can know, an action that `function.yaml` does not declare, is not in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dea.workspace import checkout, environment, settings, usage
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import console, print_json

# CloudFormation's names for what it knows of a stack's place (Fn::Sub): allowed for the account and the region, and in the
# resources of function.yaml.
_ACCOUNT, _REGION, _PARTITION = "${AWS::AccountId}", "${AWS::Region}", "${AWS::Partition}"
# A variable of the function in the place of a resource's name.
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
_IS_RESOURCE_NAME = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)  # no wildcard: a value is not to widen what was reviewed

_IS_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_IS_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}", re.ASCII)
_IS_KEY_ARN = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+", re.ASCII)
_IS_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Place:
    """Where the function will be.

    Attributes:
        account: The AWS account's id.
        region: The AWS region.
    """

    account: str
    region: str

    @property
    def partition(self) -> str:
        """The part of AWS that the region belongs to, the second word of each ARN."""
        if self.region == _REGION:
            return _PARTITION
        return {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(re.split(r"-(?=[a-z]+-\d)", self.region)[0], "aws")

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource that is there."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def parameter(self, name: str) -> str:
        """Return the ARN of an SSM parameter: that of a path has no second slash, and AWS's own are in no account."""
        arn = self.arn("ssm", f"parameter/{name.removeprefix('/')}")
        return arn.replace(f":{self.account}:", "::") if name.startswith("/aws/") else arn


def show(
    name: str, *, environment_name: str | None, account: str, region: str, key_arn: str, function_name: str
) -> None:
    """Print the policy as JSON on stdout, and what must be there besides on stderr.

    Args:
        name: The function's name.
        environment_name: The environment of its `env_vars.yaml`; None for `default`.
        account: The AWS account's id; empty for CloudFormation's name of it.
        region: The AWS region; empty for the shell's, and without one for CloudFormation's name of it.
        key_arn: The KMS key of its SSM parameters; empty for any key, which the conditions then narrow.
        function_name: Its name on Lambda; empty for its own.

    Raises:
        WorkspaceError: If something given is not what it must be, or a service that is declared or that the function's own
            modules ask AWS for has no actions.
    """
    function = checkout.function(name)
    place = _place(account, region)
    if key_arn and not _IS_KEY_ARN.fullmatch(key_arn):
        raise WorkspaceError(
            f"--key-arn {key_arn!r:.120} is no key's ARN, which an alias has not: aws kms describe-key --key-id "
            "alias/NAME --query KeyMetadata.Arn --output text prints it"
        )
    if function_name and not _IS_FUNCTION_NAME.fullmatch(function_name):
        raise WorkspaceError(f"--function-name {function_name!r:.80} cannot be a function's name on Lambda")
    declared = environment.read(function.folder / environment.FILE_NAME).values(environment_name)
    used = usage.read(function.folder)
    _check_asked(function, used)
    made = document(function, declared, place, used=used, key_arn=key_arn, function_name=function_name)
    unknown = [("--account", _ACCOUNT)] if not account else []
    if not region and place.region == _REGION:
        unknown.append(("--region", _REGION))
    if unknown:
        console.print(
            f"the policy has {' and '.join(put for _, put in unknown)} in it: give {' and '.join(option for option, _ in unknown)} "
            "for the values, or put what holds them under Fn::Sub in a CloudFormation template",
            markup=False,
            soft_wrap=True,
        )
    for computed in used.unclear:
        console.print(f"not in the policy, because it is not written out: {computed}", markup=False, soft_wrap=True)
    group = f"/aws/lambda/{function_name or name}"
    console.print(
        f"create the log group before the first event, the function may not: aws logs create-log-group --log-group-name {group}",
        markup=False,
        soft_wrap=True,
    )
    print_json(made)


def document(
    function: checkout.Function,
    variables: Mapping[str, str | environment.SsmParameter],
    place: Place,
    *,
    used: usage.Usage | None = None,
    key_arn: str = "",
    function_name: str = "",
) -> dict[str, Any]:
    """Return the policy.

    Args:
        function: The function.
        variables: Its environment variables.
        place: Where it will be.
        used: What its source uses; None to read it.
        key_arn: The KMS key of its SSM parameters; empty for any key.
        function_name: Its name on Lambda; empty for its own.

    Raises:
        WorkspaceError: If `function.yaml` declares a service without actions, or a resource by a variable that has no value or
            one that is no name; or if the prefix of the session's parameters is itself an SSM parameter.
    """
    declared = settings.read(function)
    _check_services(function, declared)
    parameters = _parameters(function, declared, variables, used or usage.read(function.folder))
    named = _Named(function, variables)
    log_group = place.arn("logs", f"log-group:/aws/lambda/{function_name or function.name}:*")
    statements = [
        _statement("WriteLog", ["logs:CreateLogStream", "logs:PutLogEvents"], [log_group]),
        *(
            _statement(f"Use{number}", one.actions, [_placed(resource, place, named) for resource in one.resources])
            for number, one in enumerate(declared.permissions, 1)
        ),
    ]
    if parameters:
        arns = [place.parameter(parameter) for parameter in parameters]
        statements.insert(0, _statement("ReadParameters", ["ssm:GetParameters"], arns))
    if secured := [place.parameter(parameter) for parameter in parameters if not parameter.startswith("/aws/")]:
        decrypt = _statement("DecryptParameters", ["kms:Decrypt"], [key_arn or place.arn("kms", "key/*")])
        # Only through Parameter Store, and only what these parameters hold: it gives KMS a parameter's ARN as the encryption
        # context (AWS Systems Manager User Guide, "AWS KMS encryption for AWS Systems Manager Parameter Store SecureString
        # parameters"; AWS KMS Developer Guide, "kms:ViaService").
        decrypt["Condition"] = {
            "StringEquals": {
                "kms:EncryptionContext:PARAMETER_ARN": secured,
                "kms:ViaService": f"ssm.{place.region}.amazonaws.com",
            }
        }
        statements.insert(1, decrypt)
    return {"Version": "2012-10-17", "Statement": statements}


def _parameters(
    function: checkout.Function,
    declared: settings.Settings,
    variables: Mapping[str, str | environment.SsmParameter],
    used: usage.Usage,
) -> list[str]:
    from dea.raijin.credentials import USER_PATH_VARIABLE, parameter_names, user_path_from  # noqa: PLC0415 - costs boto3 and paramiko

    prefixes = set(used.user_paths)
    if used.default_user_path or declared.commands:
        if isinstance(variables.get(USER_PATH_VARIABLE), environment.SsmParameter):
            raise WorkspaceError(
                f"{function.folder / environment.FILE_NAME}: {USER_PATH_VARIABLE} names SSM parameters and is no secret itself: "
                "write its value there"
            )
        prefixes.add(user_path_from({name: value for name, value in variables.items() if isinstance(value, str)}))
    names = {name for prefix in prefixes for name in parameter_names(prefix).values()} | used.parameters
    names |= {value.name for value in variables.values() if isinstance(value, environment.SsmParameter)}
    return sorted(names)


def _check_services(function: checkout.Function, declared: settings.Settings) -> None:
    allowed = {one.service for one in declared.permissions}
    if bare := [service for service in declared.services if service not in allowed]:
        raise WorkspaceError(
            f"{function.folder / settings.FILE_NAME}: services: {', '.join(bare)} without actions, and what a function may do with "
            f"a service is not known from its name; {_to_write(bare[0])}"
        )


def _check_asked(function: checkout.Function, used: usage.Usage) -> None:
    """Check that function.yaml says what is done with each service that the function's own modules ask AWS for."""
    if asked := sorted(set(used.services) - set(settings.read(function).services)):
        places = ", ".join(f"{service} ({used.services[service]})" for service in asked)
        raise WorkspaceError(
            f"{function.folder / settings.FILE_NAME}: services does not say what the function does with what it asks AWS for: "
            f"{places}; {_to_write(asked[0])}"
        )


def _to_write(service: str) -> str:
    example = f"arn:{_PARTITION}:{service}:{_REGION}:{_ACCOUNT}:..."
    return f"write - {service}: {{actions: ['{service}:...'], resources: ['{example}']}}"


@dataclass(frozen=True)
class _Named:
    """The names that a function's environment variables give to resources."""

    function: checkout.Function
    variables: Mapping[str, str | environment.SsmParameter]

    def __call__(self, match: re.Match[str]) -> str:
        """Return the value of a variable that a resource has in it.

        Raises:
            WorkspaceError: If it has none, or one that is no name.
        """
        value = self.variables.get(match[1])
        if not isinstance(value, str) or not _IS_RESOURCE_NAME.fullmatch(value):
            said = f"holds {value!r:.60}" if isinstance(value, str) else "has no value that is written down"
            raise WorkspaceError(
                f"{self.function.folder / settings.FILE_NAME}: services: {match[0]} in a resource: {match[1]} {said} in "
                f"{environment.FILE_NAME}; give it a name of letters, digits and _ . - there"
            )
        return value


def _placed(resource: str, place: Place, named: _Named) -> str:
    for name, value in ((_ACCOUNT, place.account), (_REGION, place.region), (_PARTITION, place.partition)):
        resource = resource.replace(name, value)
    return _VARIABLE.sub(named, resource)


def _statement(sid: str, actions: Iterable[str], resources: Iterable[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": sorted(actions), "Resource": sorted(resources)}


def _place(account: str, region: str) -> Place:
    account = account or _ACCOUNT
    region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or _REGION
    if not (_IS_REGION.fullmatch(region) or region == _REGION):
        raise WorkspaceError(
            f"--region {region!r:.80} is no AWS region: give one, as ap-southeast-2, or set AWS_DEFAULT_REGION; "
            f"'{_REGION}' is for a CloudFormation template"
        )
    if not (_IS_ACCOUNT.fullmatch(account) or account == _ACCOUNT):
        raise WorkspaceError(
            f"--account {account!r:.80} is no AWS account's id of 12 digits: aws sts get-caller-identity --query Account "
            f"--output text prints yours; '{_ACCOUNT}' is for a CloudFormation template"
        )
    return Place(account, region)
