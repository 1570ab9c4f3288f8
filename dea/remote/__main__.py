"""The file that the forced command names: finds its own checkout and hands over to the dispatcher.

It stays this thin because Python compiles a main script anew at each start; the modules behind it are cached.
"""

import _signal  # the C half of `signal`
import gc
import os
import sys

if sys.version_info < (3, 9):
    os.write(2, b"dea-remote: this needs Python 3.9 or newer: name another interpreter in the forced command\n")
    os._exit(125)

if sys.getfilesystemencoding() != "utf-8":
    # A client can choose the locale, where sshd accepts LC_ALL, and with it how Python would turn arguments and names of
    # files into bytes: a command would get other words than those that were checked. UTF-8 mode has no locale.
    again = [sys.executable, "-X", "utf8", "-I", "-S", os.path.abspath(__file__), *sys.argv[1:]]
    try:
        os.execv(sys.executable, again)  # noqa: S606 - no shell is the point
    except OSError:
        os.write(2, b"dea-remote: the interpreter does not find itself, and its locale is not UTF-8\n")
        os._exit(125)

# Ctrl-C ends this process, as any other program, instead of raising an exception somewhere in it.
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

gc.disable()  # one dispatch makes less garbage than one collection takes time

# `-I` keeps the current folder and PYTHONPATH out of sys.path. The checkout is appended, never prepended, so that nothing
# in it can shadow the standard library; started as a folder, or without `-I`, Python has put this folder first.
_HERE = os.path.dirname(os.path.realpath(__file__))
if os.path.realpath(sys.path[0]) == _HERE:
    del sys.path[0]
sys.path.append(os.path.dirname(os.path.dirname(_HERE)))

from dea.remote.dispatcher import main  # noqa: E402 - importable only now
from dea.remote.launch import close_descriptors  # noqa: E402

if __name__ == "__main__":
    close_descriptors()
    # Not sys.exit: taking down an interpreter that holds nothing open would be time of each dispatch. Everything that
    # is written here is written by os.write, so no buffer is lost.
    os._exit(main(os.path.dirname(os.path.dirname(_HERE)), sys.argv[1:]))
