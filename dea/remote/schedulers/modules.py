"""Environment modules: what a job loads on its node is tried on the login node first, so that a mistake does not wait in a queue.

`module` is a function of the shell, so a shell has to be asked; its script is fixed, and what varies are its arguments.
"""

import os

from dea.remote.contract.request import shown
from dea.remote.schedulers.calls import Call
from dea.remote.schedulers.errors import Refused

TYPE_CHECKING = False  # as in `typing`, which is dear to import (`benchmarks/start`)
if TYPE_CHECKING:
    from dea.remote.schedulers.calls import Perform

INIT, FOLDER = "MODULES_INIT", "MODULE_FOLDER"
"""The variables that say which file defines `module`, and in which folder the modules are; the job gets them too."""

DEFAULT_INIT = "/etc/profile.d/modules.sh"

_TRY = '. "$1" && module use "$2" && module load "$3"'


def try_module(name: str, perform: "Perform") -> "tuple[tuple[str, str], ...]":
    """Load a module for a moment; return the variables by which the job finds it.

    Where the site has no modules there is nothing to load, there or here.

    Raises:
        Refused: It cannot be loaded.
    """
    init, folder = os.environ.get(INIT) or DEFAULT_INIT, os.environ.get(FOLDER, "")
    if os.path.isfile(init):
        answer = perform(Call(("bash", "-c", _TRY, "bash", init, folder, name)))
        if answer.status != 0:
            raise Refused(f"the module {shown(name)} cannot be loaded from {folder or 'the default'} ({answer.said})")
    return ((INIT, init), (FOLDER, folder))
