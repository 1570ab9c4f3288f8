"""The program that a function's process is: AWS's runtime client with the function's folder on its path, as in Lambda's own image.

It runs on the interpreter of the function's runtime and has only the standard library and that client; it is started with
`-P`, so that its own folder is not on the path. Its name is what the client leaves out of stack traces.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Serve invocations until the process is ended."""
    # As on Lambda: what the package holds is found first, then the interpreter's own; the client can hide neither.
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    sys.path.append(os.environ["LAMBDA_RUNTIME_DIR"])
    if sys.flags.no_site:  # site-packages stay out, but `exit` and its like are there
        import site  # noqa: PLC0415

        site.setquit()
        site.setcopyright()
        site.sethelper()

    from awslambdaric import bootstrap  # noqa: PLC0415
    from awslambdaric.lambda_runtime_client import LambdaRuntimeClient  # noqa: PLC0415

    # What joins the lines of an error in the log: a carriage return, for CloudWatch to make one entry of them. On a terminal each
    # would hide the one before it.
    bootstrap.ERROR_LOG_LINE_TERMINATE = "\n"
    bootstrap.ERROR_LOG_IDENT = " "
    bootstrap.run(os.environ["_HANDLER"], LambdaRuntimeClient(os.environ["AWS_LAMBDA_RUNTIME_API"]))


if __name__ == "__main__":
    main()
