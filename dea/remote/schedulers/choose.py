"""Which scheduler this site has: what `site.yaml` says in `BATCH_SCHEDULER`, else what comes first on its path."""

import os
import shutil

from dea.remote.contract.job import SCHEDULERS
from dea.remote.contract.request import shown
from dea.remote.schedulers import pbs, slurm
from dea.remote.schedulers.errors import Refused

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Protocol

    from dea.remote.contract.job import Job
    from dea.remote.schedulers.calls import Answer, Call
    from dea.remote.schedulers.order import Order

    class Scheduler(Protocol):
        """What there is to do with a scheduler; the modules `pbs` and `slurm` are two of them."""

        NAME: str
        NAME_LIMIT: int
        UNKNOWN_IS_MET: bool

        def submit_call(self, order: Order, /) -> Call:
            """Return the call that submits a job."""

        def submitted(self, answer: Answer, /) -> str:
            """Return the id of the job that was submitted, or raise what is known instead."""

        def status(self, job_ids: list[str], /) -> Generator[Call, Answer, dict[str, Job]]:
            """Ask for many jobs at once; the conversation returns one for each id."""

        def cancel(self, job_id: str, /) -> Generator[Call, Answer, None]:
            """Ask for a job's end."""

        def find(self, name: str, account: str, since_s: float, /) -> Generator[Call, Answer, tuple[list[str], bool]]:
            """Look for the jobs of a name; say too whether there being none proves that there was none."""


VARIABLE = "BATCH_SCHEDULER"


def choose() -> "Scheduler":
    """Return the scheduler of this site.

    Raises:
        Refused: There is none, or none of the name that `site.yaml` says.
    """
    modules: "dict[str, Scheduler]" = {pbs.NAME: pbs, slurm.NAME: slurm}
    named = os.environ.get(VARIABLE)
    if named:
        if named not in modules:
            raise Refused(
                f"{VARIABLE} is {shown(named)}: it is one of {', '.join(SCHEDULERS)}; put it right in site.yaml"
            )
        return modules[named]
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        # Slurm first: the qsub beside an sbatch is Slurm's own imitation, with another output.
        if folder and shutil.which("sbatch", path=folder):
            return slurm
        if folder and shutil.which("qsub", path=folder):
            return pbs
    raise Refused("neither qsub nor sbatch is on the path: put the scheduler's folder on it in site.yaml")
