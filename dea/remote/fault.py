"""The seam at which tests kill or freeze the dispatcher: the named steps of a durable run.

A step does nothing, unless the forced command's own argv says `--fault STEP` (killed there) or `--fault STEP:stop` (frozen
there). Nothing that a client sends, no environment and no file gets here: whoever can write `authorized_keys` can kill the
dispatcher anyway.
"""

import os

FRONT_STEPS = (
    "place-taken",  # of those that max_parallel allows
    "claim-prepared",  # under a temporary name
    "received-recorded",  # in the audit log
    "claim-renamed",  # it exists for others
    "supervisor-forked",
    "output-begun",  # the first bytes have gone to the client
    "output-sent",  # all of it, the receipt is next
)
"""The steps of the process that the client is connected to."""

SUPERVISOR_STEPS = (
    "supervisor-began",
    "start-prepared",  # not yet decided who starts
    "start-linked",  # decided: this process, or nobody, runs the command
    "start-durable",  # on the disk
    "start-recorded",  # in the audit log
    "command-spawned",
    "output-stored",  # the first of it
    "command-ended",
    "end-recorded",  # in the audit log
    "outcome-prepared",
    "outcome-linked",  # it exists for others
    "outcome-durable",  # on the disk
)
"""The steps of the process that runs the command."""

STEPS = (*FRONT_STEPS, *SUPERVISOR_STEPS)

_SIGNALS = {"kill": 9, "stop": 19}


def step(_name: str) -> None:
    """Pass a step; replaced by `arm`, and so called by its module, `fault.step(...)`."""


def arm(fault: str) -> bool:
    """Make this process, and those that it forks, end or freeze at a step.

    Args:
        fault: `STEP`, `STEP:kill` or `STEP:stop`.

    Returns:
        Whether there is such a step.
    """
    name, _, action = fault.partition(":")
    signum = _SIGNALS.get(action or "kill")
    if name not in STEPS or signum is None:
        return False
    chosen = signum

    def strike(passed: str) -> None:
        if passed == name:
            os.kill(os.getpid(), chosen)

    globals()["step"] = strike
    return True
