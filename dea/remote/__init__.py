"""The login node's end: a dispatcher that runs pre-approved commands and nothing else.

It is standard library only, Python 3.9 to the newest, and runs from a plain checkout with nothing installed. What both
ends agree on is in `dea.remote.contract`; the other modules never run anywhere but on the login node.
"""

__version__ = "0.1.0"
