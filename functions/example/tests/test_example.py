"""The example function, alone in an environment with nothing but its own requirements."""

import pytest
from example import ExampleCommand, handler

from dea.lambdas import OrchestratorException
from dea.raijin.testing import FakeSession


def test_returns_the_names_that_the_login_node_lists():
    command = ExampleCommand()
    command.raijin = session = FakeSession({"example": ("echo_args\nexample\n", "", 0)})
    assert command.run() == {"commands": ["echo_args", "example"]}
    assert session.requests == ["example"]


def test_a_failure_on_the_login_node_is_an_error_that_carries_its_output():
    command = ExampleCommand()
    command.raijin = FakeSession({"example": ("", "quota exceeded\n", 3)})
    with pytest.raises(OrchestratorException, match="quota exceeded") as raised:
        command.run()
    assert raised.value.exit_code == 3


def test_the_handler_takes_what_lambda_passes(monkeypatch):
    monkeypatch.setattr(ExampleCommand, "raijin", FakeSession({"example": ("example\n", "", 0)}))
    assert handler({}, None) == {"commands": ["example"]}
