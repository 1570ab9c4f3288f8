"""What an event asks for: in itself or in its detail, and nothing that nobody reads."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

from dea.lambdas import events
from dea.lambdas.events import InvalidEvent, call_of, fields_of
from dea.raijin import RequestRefused

FROM_EVENTBRIDGE = {"id": "1", "source": "me", "detail-type": "x", "account": "1", "detail": {"command": "example"}}


def test_what_the_docstrings_show_is_so() -> None:
    done = doctest.testmod(events)
    assert done.attempted > 0
    assert done.failed == 0


@pytest.mark.parametrize(
    "event", [{"command": "example"}, FROM_EVENTBRIDGE, {"command": "example", "dea_delivery": {"Id": "x"}}]
)
def test_the_fields_are_found(event: Any) -> None:
    assert fields_of(event, "command", "arguments") == {"command": "example"}


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (None, "no object"),
        ("example", "no object"),
        ([{"command": "example"}], "no object"),
        ({**FROM_EVENTBRIDGE, "detail": "example"}, "no object"),
        ({"command": "example", "comand": "x"}, "unknown fields: 'comand'; there are command and arguments"),
        ({"command": "example", "detail": {}}, "unknown fields: 'detail'"),
        ({**FROM_EVENTBRIDGE, "detail": {"command": "example", "dea": 1}}, "unknown fields: 'dea'"),
        # EventBridge's own id says which delivery it is: one in the detail would be passed over.
        ({**FROM_EVENTBRIDGE, "detail": {"dea_delivery": {"Id": "x"}}}, "unknown fields: 'dea_delivery'"),
        (
            {"command": "example", "a\n[INFO] all is well": 1},
            r"^the event has unknown fields: 'a\\n\[INFO\] all is well'; .*$",
        ),
    ],
)
def test_what_it_does_not_ask_for_rightly_is_an_error(event: Any, said: str) -> None:
    with pytest.raises(InvalidEvent, match=said):
        fields_of(event, "command", "arguments")


def test_a_call_is_made_of_its_command_and_arguments() -> None:
    call = call_of({"command": "quota", "arguments": {"projects": ["v10"], "warn_above": 90, "unit": None}})
    assert call.request == "quota --warn-above 90 v10"
    assert call_of({}, default="example").request == "example"


def test_an_argument_cannot_be_anything_but_an_argument() -> None:
    for arguments in ({"run_id": "x"}, {"cls": "x"}, {"projects": ["v10"], "detach": True}):
        with pytest.raises(RequestRefused, match="is no argument of this command"):
            call_of({"command": "quota", "arguments": arguments})


@pytest.mark.parametrize("command", ["../raijin_scripts/example", "example/", "example/.", "Example", "x" * 100_000])
def test_what_is_no_command_s_name_is_refused_in_one_short_line(command: str) -> None:
    with pytest.raises(RequestRefused, match="that is no command's name") as refused:
        call_of({"command": command})
    assert len(str(refused.value)) < 200
    assert "\n" not in str(refused.value)
