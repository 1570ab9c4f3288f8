"""One fresh process of the benchmark: imports a package's handler, makes the SSM client, prints the seconds of both as JSON.

It runs under the target's interpreter with nothing but the package and the standard library to import from, and itself imports
nothing that a cold start on Lambda would not have imported by then.
"""

import sys
from time import perf_counter

sys.path.insert(0, sys.argv[1])
begin = perf_counter()
import example  # noqa: E402, F401 - this is what is measured

imported = perf_counter()
import boto3  # noqa: E402 - the handler's package imports it too, or else this is part of making the client

boto3.client("ssm", region_name="ap-southeast-2", aws_access_key_id="none", aws_secret_access_key="none")
print(f"[{imported - begin}, {perf_counter() - imported}]")
