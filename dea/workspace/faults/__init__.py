"""The fault kit: what goes wrong between a function and a login node, made to happen on purpose, on this machine.

    with sandbox("openssh") as box, FaultProxy((box.host, box.port)) as proxy:
        session = session_through(box, proxy)
        proxy.arm(Fault("cut", at_byte=5000), Fault("stall", "up", after_s=0.2))
        assert session.exec_command("example").ok       # over three connections, run once

`FaultProxy` cuts, delays, stalls or garbles a connection at a byte or a time; `frozen` stops processes as they are;
`small_disk` is a file system that is soon full; `sandbox(login_nodes=2)` has two login nodes on one state folder. How the
dispatcher is killed at each of its steps is `dea.remote`'s own to say. `python -m dea.workspace.faults` puts many runs
through all of it: the Nox session `faults`.
"""

from dea.workspace.faults.frozen import frozen
from dea.workspace.faults.proxy import Fault, FaultProxy, session_through
from dea.workspace.faults.small_disk import fill, small_disk

__all__ = ["Fault", "FaultProxy", "fill", "frozen", "session_through", "small_disk"]
