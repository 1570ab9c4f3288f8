"""Variables that name SSM parameters: resolved once, all or none, and never without need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from dea.lambdas.environment import resolve_ssm_variables
from dea.raijin import MissingParameter, ParameterAccessDenied


@pytest.fixture
def ssm() -> Iterator[Any]:
    """A client that is not connected, and what stands for its server."""
    client = boto3.Session("key", "secret", region_name="ap-southeast-2").client("ssm")
    with Stubber(client) as stub:
        yield client, stub
        stub.assert_no_pending_responses()


def answer(**values: str) -> dict[str, Any]:
    return {"Parameters": [{"Name": name, "Value": value} for name, value in values.items()]}


def test_references_are_replaced_in_one_request_and_all_else_is_left(ssm: Any) -> None:
    client, stub = ssm
    stub.add_response("get_parameters", answer(b="2", **{"/a": "1"}), {"Names": ["/a", "b"], "WithDecryption": True})
    environment = {"A": "ssm:///a", "B": "ssm://b", "AGAIN": "ssm://b", "C": "see ssm://b", "D": ""}
    assert resolve_ssm_variables(environment, ssm=client) == ["A", "AGAIN", "B"]
    assert environment == {"A": "1", "B": "2", "AGAIN": "2", "C": "see ssm://b", "D": ""}
    assert resolve_ssm_variables(environment, ssm=client) == []  # nothing is left to ask for


def test_a_missing_one_is_named_and_nothing_changes(ssm: Any) -> None:
    client, stub = ssm
    stub.add_response("get_parameters", {**answer(a="hush"), "InvalidParameters": ["b"]})
    environment = {"A": "ssm://a", "B": "ssm://b"}
    with pytest.raises(MissingParameter, match="do not exist in this account and region: b;") as raised:
        resolve_ssm_variables(environment, ssm=client)
    assert raised.value.parameters == ("b",)
    assert "hush" not in str(raised.value)
    assert environment == {"A": "ssm://a", "B": "ssm://b"}


def test_a_denial_is_named(ssm: Any) -> None:
    client, stub = ssm
    stub.add_client_error("get_parameters", "AccessDeniedException", "no", 400)
    with pytest.raises(ParameterAccessDenied, match="kms:Decrypt"):
        resolve_ssm_variables({"A": "ssm://a"}, ssm=client)


def test_this_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch, ssm: Any) -> None:
    import os

    client, stub = ssm
    stub.add_response("get_parameters", answer(a="1"))
    monkeypatch.setenv("GIVEN", "ssm://a")
    assert resolve_ssm_variables(ssm=client) == ["GIVEN"]
    assert os.environ["GIVEN"] == "1"
