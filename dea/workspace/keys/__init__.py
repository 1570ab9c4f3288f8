"""The keys that lead to the login node: made, let in there, stored for functions, and replaced.

    pairs                       a key is made, and kept in a file until it is stored
    login_node                  its line is put into authorized_keys, over the operator's own ssh
    host_keys -> parameters     what a session needs is stored in SSM, after it has logged in
    rotation                    another key takes its place, with both working meanwhile

What a person sees is in `dea.workspace.keys.tasks`; what the lines say, in `dea.remote.authorized_keys`.
"""

from dea.workspace.keys.login_node import LoginNode
from dea.workspace.keys.parameters import Values, store
from dea.workspace.keys.rotation import rotate

__all__ = ["LoginNode", "Values", "rotate", "store"]
