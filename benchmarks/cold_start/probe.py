"""One fresh process of the benchmark: imports a package's handler, makes the SSM client, prints the seconds of both as JSON.

The client is made as the package's session makes it: ours by botocore, the predecessor's by boto3.
It runs under the target's interpreter with nothing but the package and the standard library to import from, and itself imports
nothing that a cold start on Lambda would not have imported by then.
"""

import sys
from time import perf_counter

sys.path.insert(0, sys.argv[1])
begin = perf_counter()
import example  # type: ignore[import-not-found]  # noqa: E402, F401 - this is what is measured; the package has it

imported = perf_counter()
if sys.argv[2] == "boto3":
    import boto3

    boto3.client("ssm", region_name="ap-southeast-2", aws_access_key_id="none", aws_secret_access_key="none")
else:
    from botocore.session import Session

    make = Session().create_client
    make("ssm", region_name="ap-southeast-2", aws_access_key_id="none", aws_secret_access_key="none")
print(f"[{imported - begin}, {perf_counter() - imported}]")
