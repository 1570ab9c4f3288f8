"""What the documentation has a state machine put into an event is what tells its deliveries apart, when one really runs."""

from __future__ import annotations

import json
import re
import time
import urllib.request
import uuid
from typing import Any

import boto3
import pytest
from botocore.config import Config

from dea.lambdas import InvalidDelivery
from dea.lambdas.identity import identity_of
from dea.workspace.sandbox import Sandbox
from tests.conftest import ROOT

DEADLINE_S = 60.0


def documented(pattern: str) -> Any:
    """Return the JSON of the documentation's example that holds a text."""
    page = (ROOT / "docs" / "how-to" / "run-once.md").read_text("utf-8")
    [found] = [block for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL) if pattern in block]
    return json.loads(found)


@pytest.fixture(scope="module")
def states(start_sandbox: Any) -> Any:
    """A client of Step Functions that executes."""
    box: Sandbox = start_sandbox("asyncssh")
    body = json.dumps({"stepfunctions": {"execute_state_machine": True}}).encode()
    request = urllib.request.Request(f"{box.endpoint_url}/moto-api/config", body, {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answered:
        assert answered.status == 201
    session = boto3.Session(aws_access_key_id="sandbox", aws_secret_access_key="sandbox", region_name="ap-southeast-2")
    return session.client("stepfunctions", endpoint_url=box.endpoint_url, config=Config(proxies={}))


def output(states: Any, name: str, definition: dict[str, Any]) -> Any:
    """Run a state machine and return what it gave."""
    machine = states.create_state_machine(
        name=f"{name}-{uuid.uuid4()}",
        definition=json.dumps(definition),
        roleArn="arn:aws:iam::123456789012:role/states",
    )["stateMachineArn"]
    execution = states.start_execution(
        stateMachineArn=machine, name=str(uuid.uuid4()), input='{"scene": "x", "scenes": [1, 2]}'
    )["executionArn"]
    deadline = time.monotonic() + DEADLINE_S
    while (told := states.describe_execution(executionArn=execution))["status"] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert told["status"] == "SUCCEEDED", told
    return json.loads(told["output"])


def test_a_state_machine_fills_in_the_documented_delivery(states: Any) -> None:
    payload = documented("arn:aws:states")["Clean"]["Parameters"]["Payload"]
    passing = {"Type": "Pass", "Parameters": payload, "End": True}
    definition = {"StartAt": "Clean", "States": {"Clean": passing}}
    events = [output(states, f"documented-{number}", definition) for number in range(2)]
    assert [event["scene"] for event in events] == ["x", "x"]
    known = [identity_of(event, None) for event in events]
    assert [each and each.kind for each in known] == ["step_functions", "step_functions"]
    assert known[0] != known[1]


def test_the_documented_map_index_tells_a_maps_items_apart(states: Any) -> None:
    payload = documented("arn:aws:states")["Clean"]["Parameters"]["Payload"]
    payload = {"dea_delivery": {**payload["dea_delivery"], "Map": {"Item": {"Index.$": "$$.Map.Item.Index"}}}}
    passing = {"Type": "Pass", "Parameters": payload, "End": True}
    mapping = {
        "Type": "Map",
        "ItemsPath": "$.scenes",
        "ItemProcessor": {"StartAt": "Clean", "States": {"Clean": passing}},
        "End": True,
    }
    events = output(states, "mapping", {"StartAt": "Each", "States": {"Each": mapping}})
    parts = [known.parts for event in events if (known := identity_of(event, None))]
    assert len(parts) == len({part[-1] for part in parts}) == 2


def test_a_forgotten_path_is_noticed(states: Any) -> None:
    payload = {"dea_delivery": {"Execution": {"Id": "$$.Execution.Id"}, "State": {"Name": "x", "EnteredTime": "y"}}}
    passing = {"Type": "Pass", "Parameters": payload, "End": True}
    event = output(states, "forgotten", {"StartAt": "Clean", "States": {"Clean": passing}})
    with pytest.raises(InvalidDelivery, match=r"Execution.Id is '\$\$.Execution.Id'"):
        identity_of(event, None)


def test_the_documented_schedule_is_what_scheduler_fills_in() -> None:
    event = documented("aws.scheduler")
    filled = json.loads(
        json.dumps(event)
        .replace("<aws.scheduler.schedule-arn>", "arn:aws:scheduler:us-east-1:123456789012:schedule/default/nightly")
        .replace("<aws.scheduler.scheduled-time>", "2022-03-22T18:59:43Z")
    )
    known = identity_of(filled, None)
    assert known is not None
    assert known.kind == "schedule"
