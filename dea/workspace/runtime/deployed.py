"""A function as it is deployed: its code, its limits, and the environment of its process.

The variables that Lambda sets are those of the AWS Lambda Developer Guide, "Working with Lambda environment variables",
"Defined runtime environment variables".
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from dea.workspace.runtime.report import VERSION
from dea.workspace.runtime.task_root import TaskRoot

LOG_FORMATS = ("Text", "JSON")

RESERVED = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)
"""The names that Lambda does not let a function's configuration set."""


@dataclass(frozen=True)
class Deployed:
    """A function as it is deployed.

    Attributes:
        name: Its name.
        arn: Its ARN, without a version.
        task_root: Its code.
        client: The folder that holds AWS's runtime client for its interpreter.
        variables: Its own environment variables, and those of AWS.
        memory_mb: Its memory.
        timeout_s: The longest that one invocation may take.
        log_format: `Text` or `JSON`.
    """

    name: str
    arn: str
    task_root: TaskRoot
    client: Path
    variables: dict[str, str] = field(repr=False)
    memory_mb: int
    timeout_s: float
    log_format: str = LOG_FORMATS[0]

    def environment(self, api_address: str) -> dict[str, str]:
        """Return the whole environment of its process: made from nothing, its own variables under Lambda's.

        Args:
            api_address: Where the Runtime API listens.
        """
        return {**self._replaceable(), **self.variables, **self._of_lambda(api_address)}

    def _of_lambda(self, api_address: str) -> dict[str, str]:
        values = {
            "_HANDLER": self.task_root.handler,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{self.task_root.python}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory_mb),
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_VERSION": VERSION,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_FORMAT": self.log_format,
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"{datetime.now(UTC):%Y/%m/%d}/[{VERSION}]{secrets.token_hex(16)}",
            "AWS_LAMBDA_RUNTIME_API": api_address,
            "LAMBDA_RUNTIME_DIR": str(self.client),
            "LAMBDA_TASK_ROOT": str(self.task_root.folder),
        }
        if self.log_format == "JSON":
            values["AWS_LAMBDA_LOG_LEVEL"] = "INFO"  # Lambda's own default, in this format only
        return values

    def _replaceable(self) -> dict[str, str]:
        """Return what Lambda sets too, but lets a function replace; and a home and a temporary folder."""
        root = self.task_root
        return {
            "HOME": str(root.home),
            "LANG": "en_US.UTF-8",
            "LD_LIBRARY_PATH": os.pathsep.join([str(root.folder), str(root.folder / "lib")]),
            "PATH": os.pathsep.join([str(root.interpreter.parent), "/usr/local/bin", "/usr/bin", "/bin"]),
            "TMPDIR": str(root.scratch),
            "TZ": ":UTC",
        }
