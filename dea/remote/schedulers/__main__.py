"""What `run` of a command that deals with batch jobs calls: `commands` says what there is.

It stays this thin because Python compiles a main script anew at each start.
"""

import os
import sys

if sys.version_info < (3, 9):
    sys.exit("this needs Python 3.9 or newer: put one first in the site's path")

# As in dea/remote/__main__.py: nothing in the checkout may shadow the standard library.
_HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:] = [entry for entry in sys.path if entry and os.path.realpath(entry) != _HERE]
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(_HERE))))

from dea.remote.schedulers.commands import main  # noqa: E402 - importable only now

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
