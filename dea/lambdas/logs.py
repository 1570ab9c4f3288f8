"""Makes log lines of the functions and of `dea` visible on Lambda, in both of its log formats.

In its Text format (the default) Lambda's own handler drops what is below WARNING and shows nothing of `extra`. In its JSON
format both appear, and nothing is changed here but the level of our own loggers.
"""

from __future__ import annotations

import copy
import json
import logging
import os

LEVEL_VARIABLE = "DEA_LOG_LEVEL"
FORMAT_VARIABLE = "AWS_LAMBDA_LOG_FORMAT"
LOGGERS = ("orchestrator", "dea")

# What every record has, and what Lambda's runtime client and the formatters add: the rest came from `extra`.
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "aws_request_id", "tenant_id", "_frame_type"}


class _WithExtra(logging.Formatter):
    """Formats as another formatter does, with the fields of `extra` as `name=value` behind the message."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter("%(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if extra:
            record = copy.copy(record)
            shown = (f"{name}={json.dumps(value, default=str, ensure_ascii=False)}" for name, value in extra.items())
            record.msg = " ".join((record.getMessage(), *shown))
            record.args = None
        return self._inner.format(record)


def configure_logging() -> None:
    """Set up logging on entry to a handler; a second call changes nothing.

    The level of the loggers `orchestrator` and `dea` becomes `DEA_LOG_LEVEL`, or Lambda's own `AWS_LAMBDA_LOG_LEVEL`, or
    INFO. Loggers that the function has given a level of its own keep it.
    """
    level = os.environ.get(LEVEL_VARIABLE) or os.environ.get("AWS_LAMBDA_LOG_LEVEL") or "INFO"
    level = {"TRACE": "DEBUG", "FATAL": "CRITICAL"}.get(level.upper(), level.upper())  # Lambda's names for Python's
    if level not in logging.getLevelNamesMapping():
        level = "INFO"
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(level)
    # The session names each failure in a sentence of its own; paramiko logs the same as a traceback before that.
    if level != "DEBUG" and logging.getLogger("paramiko").level == logging.NOTSET:
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler())
    if os.environ.get(FORMAT_VARIABLE, "").upper() == "JSON":
        return
    for handler in root.handlers:
        if not isinstance(handler.formatter, _WithExtra):
            handler.setFormatter(_WithExtra(handler.formatter))
