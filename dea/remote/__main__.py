"""The file that the forced command names: finds its own checkout and hands over to the dispatcher.

It stays this thin because Python compiles a main script anew at each start; the modules behind it are cached.
"""

import os
import sys

# `-I` keeps the current folder and PYTHONPATH out of sys.path. The checkout is appended, never prepended, so that nothing
# in it can shadow the standard library; started as a folder, Python has put that folder first, which would.
_HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:] = [entry for entry in sys.path if entry and os.path.realpath(entry) != _HERE]
sys.path.append(os.path.dirname(os.path.dirname(_HERE)))

from dea.remote.dispatcher import main  # noqa: E402 - importable only now
from dea.remote.launch import close_descriptors  # noqa: E402

if __name__ == "__main__":
    close_descriptors()
    sys.exit(main(os.path.dirname(os.path.dirname(_HERE)), sys.argv[1:]))
