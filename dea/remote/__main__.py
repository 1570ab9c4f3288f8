"""The file that the forced command names: finds its own checkout and hands over to the dispatcher.

It stays this thin because Python compiles a main script anew at each start; the modules behind it are cached.
"""

import gc
import os
import sys

gc.disable()  # one dispatch makes less garbage than one collection takes time

# `-I` keeps the current folder and PYTHONPATH out of sys.path. The checkout is appended, never prepended, so that nothing
# in it can shadow the standard library; started as a folder, Python has put that folder first, which would.
_HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:] = [entry for entry in sys.path if entry and os.path.realpath(entry) != _HERE]
sys.path.append(os.path.dirname(os.path.dirname(_HERE)))

from dea.remote.dispatcher import main  # noqa: E402 - importable only now
from dea.remote.launch import close_descriptors  # noqa: E402

if __name__ == "__main__":
    close_descriptors()
    # Not sys.exit: taking down an interpreter that holds nothing open takes a millisecond of each dispatch. Everything that
    # is written here is written by os.write, so no buffer is lost.
    os._exit(main(os.path.dirname(os.path.dirname(_HERE)), sys.argv[1:]))
