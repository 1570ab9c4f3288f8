"""The document in which commands' argument schemas travel in a function's package: its name and the version of its format.

`inv package` writes it, `dea.raijin.schemas` reads it; the login node, which is the authority, never sees it.
"""

FILE = "dea_commands.json"
"""The file in a package's root: `{"format": 1, "commands": {NAME: {"arguments": ..., "schema": SHA-256}}}`."""

FORMAT = 1
