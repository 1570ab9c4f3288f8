"""The errors that a person at the keyboard can act on: tasks print them as one line, without a traceback."""


class WorkspaceError(Exception):
    """A task cannot do what it was asked for; the message says what is wrong and what to do."""
