"""What a function's source says of what it uses."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from dea.workspace import checkout, usage
from dea.workspace.errors import WorkspaceError
from tests.conftest import ROOT


def read(folder: Path, text: str) -> usage.Usage:
    (folder / "made.py").write_text(text, "utf-8")
    return usage.read(folder)


def test_variables_are_found_however_they_are_read(tmp_path: Path) -> None:
    text = """
import os
import os as system
from os import environ, getenv
from os import environ as env

def handler(event, context):
    os.environ["A"], os.environ.get("B"), os.getenv("C", "x"), environ["D"], getenv("E"), "F" in os.environ
    env["G"], system.environ["H"], os.environ.pop("I", None)
    os.environ["WRITTEN"] = "x"
    os.environ[event], {"NOT": 1}["NOT"], event.get("NOR")
"""
    found = read(tmp_path, text).variables
    assert sorted(found) == list("ABCDEFGHI")
    assert found["A"] == "made.py:8"


def test_constants_of_the_module_are_seen_and_what_is_computed_is_named(tmp_path: Path) -> None:
    text = """
import os
from dea.raijin import get_ssm_parameter
A: str = "ONE"
B = "TWO"
C = "THREE"
C = "FOUR"
D = "FIVE"
os.environ[A], os.getenv(B), B in os.environ, get_ssm_parameter(A)

def handler(event, D):
    os.environ[C], os.environ.get(D)
    os.environ[f"{A}_X"]
"""
    found = read(tmp_path, text)
    assert found.variables == {"ONE": "made.py:9", "TWO": "made.py:9"}
    assert found.unclear_variables == ("made.py:12", "made.py:13")
    assert found.parameters == {"ONE"}


@pytest.mark.parametrize(
    "text",
    [
        "boto3.client('s3')",
        "boto3.resource(service_name='s3', region_name='x')",
        "boto3.Session().client('s3')",
        "boto3.session.Session(region_name='x').client('s3')",
        "self._session.client('s3')",
        "get_session().client('s3')",
        "aws = boto3.Session()\naws.client('s3')",
        "import boto3 as aws\naws.client('s3')",
        "from boto3 import client\nclient('s3')",
        "from boto3 import resource as made\nmade(service_name='s3')",
        "from botocore.session import Session\nSession().create_client('s3')",
        "botocore.session.get_session().create_client('s3', region_name='x')",
        "from dea.raijin import ToS3\nsession.run('x', stdout_to=ToS3('bucket', 'key'))",
        "import dea.raijin as way\nway.ToS3('bucket', 'key')",
        "from dea.raijin import ToS3 as Bucket\nBucket('bucket', 'key')",
    ],
)
def test_services_that_aws_is_asked_for_are_seen(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).services == {"s3": f"made.py:{len(text.splitlines())}"}


@pytest.mark.parametrize(
    "text",
    ["docker.client('s3')", "self.client('s3')", "make(session).client('s3')", "boto3.client(x)", "client('s3')"],
)
def test_what_is_asked_of_others_is_no_service(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).services == {}


def test_all_of_ours_that_makes_a_client_is_known() -> None:
    """A package lacks a service's description if nothing says that it is needed, and the policy its actions."""
    always, made = set(), {}
    for part in ("raijin", "lambdas"):
        project = tomllib.loads((ROOT / "dea" / part / "pyproject.toml").read_text("utf-8"))
        always |= set(project.get("tool", {}).get("dea-orchestration", {}).get("aws-services", ()))
        for path in (ROOT / "dea" / part).rglob("*.py"):
            for node in ast.parse(path.read_bytes()).body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    asked = {service for service, _ in usage.asked_services(ast.Module(node.body, []))} - always
                    made.update({node.name: asked} if asked else {})
    assert made == {name.partition(".")[0]: set(services) for name, services in usage.OUR_CLIENTS.items()}


def test_tests_are_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_made.py").write_text("import os\nos.environ['A']\n")
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "more.py").write_text("import os\nos.environ['B']\n")
    assert read(tmp_path, "").variables == {"B": "part/more.py:2"}


@pytest.mark.parametrize(
    "text",
    [
        "from dea.lambdas import RaijinCommand",
        "from dea.lambdas import RaijinCommand as Base\nclass A(Base): ...",
        "import dea.lambdas\nclass A(dea.lambdas.RaijinCommand): ...",
        "from dea.raijin import RaijinSession\nRaijinSession(logger=1)",
        "from dea.raijin import RaijinSession as Session\nSession(None)",
        "import dea.raijin.auth\ndea.raijin.auth.RaijinSession()",
    ],
)
def test_a_session_with_the_environments_prefix_is_seen(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).default_user_path


def test_prefixes_and_parameters_that_are_written_out_are_seen_and_others_are_named(tmp_path: Path) -> None:
    text = """
from dea.lambdas.environment import resolve_ssm_variables
from dea.raijin import RaijinSession, get_ssm_parameter
resolve_ssm_variables()
RaijinSession("a.b"), RaijinSession(user_path="c"), RaijinSession(prefix())
get_ssm_parameter("d"), get_ssm_parameter(name=e)
"""
    found = read(tmp_path, text)
    assert found.user_paths == {"a.b", "c"}
    assert found.parameters == {"d"}
    assert found.resolves_variables
    assert not found.default_user_path
    assert found.unclear == ("made.py:5: RaijinSession(prefix())", "made.py:6: get_ssm_parameter(name=e)")


def test_what_is_no_python_is_told_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"made\.py cannot be read as Python: invalid syntax"):
        read(tmp_path, "def handler(:")


def test_the_example_talks_to_the_login_node_and_reads_no_variable() -> None:
    found = usage.read(checkout.function("example").folder)
    assert found.default_user_path
    assert found.variables == {}
