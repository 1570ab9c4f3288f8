"""A real Slurm on this machine, for tests: one controller, one node, none of it known to systemd, nothing outside one folder.

with Slurm(folder) as slurm:
    subprocess.run(["squeue"], env=slurm.environment)
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sacct", "scontrol")
PACKAGES = "slurm-wlm munge"
CPUS = 8

_SBIN = ("/usr/sbin", "/sbin")


def missing() -> str | None:
    """Return what to install so that Slurm can be started here, or None."""
    there = [name for name in PROGRAMS if _program(name) is None]
    return f"Slurm is not installed ({', '.join(there)} missing): apt-get install {PACKAGES}" if there else None


class Slurm:
    """A Slurm that runs while it is entered.

    Attributes:
        environment: What its programs need in their environment.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configuration = folder / "slurm.conf"
        self.environment = {"PATH": os.environ["PATH"], "SLURM_CONF": str(self.configuration)}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self._stop)
            self._start_munge()
            self._configure()
            self.start_controller()
            self._start("slurmd", "-D", "-N", "node1", "-f", str(self.configuration))
            self._await(lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%T"), "its node is never idle")
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def ask(self, *argv: str) -> str:
        """Return what one of Slurm's programs prints."""
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, check=False)
        return done.stdout

    def start_controller(self) -> None:
        """Start the controller; it finds the jobs that it had."""
        self.controller = self._start("slurmctld", "-D", "-i", "-f", str(self.configuration))
        self._await(lambda: "UP" in self.ask("scontrol", "ping"), "its controller never answers")

    def stop_controller(self) -> None:
        """End the controller: the scheduler is down."""
        self.controller.terminate()
        self.controller.wait(30)
        self._daemons.remove(self.controller)

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        folder.mkdir(mode=0o755)
        key = folder / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        self.socket = folder / "socket"
        self._start(
            "munged", "--foreground", "--force", f"--socket={self.socket}", f"--key-file={key}",
            f"--pid-file={folder / 'pid'}", f"--log-file={folder / 'log'}", f"--seed-file={folder / 'seed'}",
        )  # fmt: skip
        self._await(self.socket.exists, "munged never listens")

    def _configure(self) -> None:
        user = pwd.getpwuid(os.getuid()).pw_name
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        controller, node = _free_port(), _free_port()
        self.configuration.write_text(
            f"""ClusterName=test
SlurmctldHost={socket.gethostname()}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={self.socket}
CredType=cred/munge
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.pid
SlurmctldLogFile={self.folder}/slurmctld.log
SlurmdLogFile={self.folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
JobCompType=jobcomp/filetxt
JobCompLoc={self.folder}/completed
MinJobAge=3600
KillWait=1
MessageTimeout=2
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0
MailProg=/bin/true
NodeName=node1 NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 CPUs={CPUS} RealMemory=16000
PartitionName=normal Nodes=node1 Default=YES MaxTime=INFINITE State=UP
PartitionName=express Nodes=node1 MaxTime=INFINITE State=UP
""",
            "utf-8",
        )

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        program = _program(name)
        assert program is not None, missing()
        with (self.folder / f"{name}.out").open("ab") as out:
            daemon = subprocess.Popen(
                [program, *arguments], env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        self._daemons.append(daemon)
        return daemon

    def _await(self, is_so: object, otherwise: str, within_s: float = 60) -> None:
        assert callable(is_so)
        deadline = time.monotonic() + within_s
        while not is_so():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{otherwise}: see the logs in {self.folder}")
            time.sleep(0.05)

    def _stop(self) -> None:
        # A job's own process would live on without the daemons.
        user = pwd.getpwuid(os.getuid()).pw_name
        if self.controller in self._daemons:
            self.ask("scancel", f"--user={user}")
            with contextlib.suppress(TimeoutError):
                self._await(
                    lambda: not self.ask("squeue", "--noheader", f"--user={user}"), "jobs never end", within_s=15
                )
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._daemons.clear()


def _program(name: str, folders: Sequence[str] = _SBIN) -> str | None:
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(folders))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
