"""What can go wrong with a scheduler, by what is known of it afterwards.

SchedulerError
  Refused        it was asked, and will not: nothing was done
  Unreachable    it could not be asked: nothing was done, the same may work later
  Uncertain      nobody knows whether it was done
"""


class SchedulerError(Exception):
    """Something that a scheduler did not do, or not surely.

    Attributes:
        status: The exit status of a command that ends with it.
        retryable: Whether the same may work later, without a person's help.
    """

    status = 1
    retryable = False


class Refused(SchedulerError):
    """The scheduler, or a check of ours, will not do it. Nothing was done."""


class Unreachable(SchedulerError):
    """The scheduler cannot be asked now. Nothing was done. The status is sysexits.h's EX_UNAVAILABLE."""

    status = 69
    retryable = True


class Uncertain(SchedulerError):
    """A job may have been submitted or not. The status is sysexits.h's EX_PROTOCOL.

    Not to be tried again blindly: a further attempt of the run asks for the job first.
    """

    status = 76
