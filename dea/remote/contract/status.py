"""The exit statuses that the dispatcher itself gives. Every other status is the command's own, passed through.

A command killed by signal n gives 128+n, as a shell reports it.
"""

USAGE = 2
"""The request is malformed: empty, an unbalanced quote, an unknown option. Nothing ran; do not retry."""

BUSY = 75
"""Nothing ran because there is no room for it now (`EX_TEMPFAIL` of sysexits.h). Retry later."""

TIMED_OUT = 124
"""The command outlived its timeout and was ended, as timeout(1) reports it."""

FAILED = 125
"""The dispatcher itself failed."""

REFUSED = 126
"""The request is not allowed, or the command cannot be run as it stands. Nothing ran."""

NOT_FOUND = 127
"""The first word is no valid or no known name. Nothing ran."""
