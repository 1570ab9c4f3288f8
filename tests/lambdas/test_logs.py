"""Log lines show on Lambda in both of its formats. The handlers here are set up as awslambdaric sets up its own."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from dea.lambdas import BaseCommand, configure_logging


class Idle(BaseCommand):
    """Logs on every level."""

    COMMAND_NAME = "idle"

    def command(self) -> None:
        self.logger.debug("quiet")
        self.logger.info("info %d", 1, extra={"run_id": "abc", "note": "two\nlines"})
        self.logger.error("bad", exc_info=ValueError("why"))


class JsonFormatter(logging.Formatter):
    """As Lambda's: every attribute of the record is a field."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {"message": record.getMessage(), "level": record.levelname, "run_id": getattr(record, "run_id", None)}
        )


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """A root logger with one handler in Lambda's Text format, and fresh levels; afterwards all is as before."""
    root = logging.getLogger()
    before = root.handlers[:], {name: logging.getLogger(name).level for name in ("", "orchestrator", "dea", "paramiko")}
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("[%(levelname)s]\t%(message)s"))
    root.handlers[:] = [handler]
    for name in before[1]:
        logging.getLogger(name).setLevel(logging.WARNING if name == "" else logging.NOTSET)
    yield stream
    root.handlers[:] = before[0]
    for name, level in before[1].items():
        logging.getLogger(name).setLevel(level)


def test_text_format_shows_info_and_extra_on_one_line(lines: io.StringIO) -> None:
    Idle().run()
    first, *rest = lines.getvalue().splitlines()
    assert first == '[INFO]\tinfo 1 run_id="abc" note="two\\nlines"'
    assert rest[0] == "[ERROR]\tbad"
    assert rest[-1] == "ValueError: why"


def test_json_format_is_left_alone_but_for_the_level(lines: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_LOG_FORMAT", "JSON")
    logging.getLogger().handlers[0].setFormatter(JsonFormatter())
    Idle().run()
    assert json.loads(lines.getvalue().splitlines()[0]) == {"message": "info 1", "level": "INFO", "run_id": "abc"}


def test_it_is_set_up_once_however_many_commands_are_made(lines: io.StringIO) -> None:
    before = len(logging.getLogger().handlers)
    for _ in range(3):
        Idle()
    Idle().run()
    assert lines.getvalue().count("run_id=") == 1
    assert len(logging.getLogger().handlers) == before


@pytest.mark.parametrize(
    ("variables", "level"),
    [
        ({}, logging.INFO),
        ({"AWS_LAMBDA_LOG_LEVEL": "TRACE"}, logging.DEBUG),
        ({"AWS_LAMBDA_LOG_LEVEL": "ERROR", "DEA_LOG_LEVEL": "debug"}, logging.DEBUG),
        ({"DEA_LOG_LEVEL": "LOUD"}, logging.INFO),
    ],
)
def test_the_level_comes_from_the_environment(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], level: int
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    configure_logging()
    assert logging.getLogger("orchestrator").level == logging.getLogger("dea").level == level


def test_a_level_that_the_function_has_set_stays(lines: io.StringIO) -> None:
    logging.getLogger("orchestrator").setLevel(logging.ERROR)
    configure_logging()
    assert logging.getLogger("orchestrator").level == logging.ERROR


def test_without_any_handler_one_is_made(lines: io.StringIO) -> None:
    logging.getLogger().handlers.clear()
    configure_logging()
    assert len(logging.getLogger().handlers) == 1
