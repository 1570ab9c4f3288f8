"""Follows all open batch jobs: asks the login node once, writes what is new into the table of jobs, tells EventBridge of it."""

from dataclasses import asdict

from dea.lambdas import RaijinCommand
from dea.lambdas.jobs import JobSettings, Tracker


class TrackJobsCommand(RaijinCommand):
    """Polls once; a schedule calls it again and again."""

    COMMAND_NAME = "track_jobs"

    def command(self) -> dict[str, int]:
        """Poll, whatever the event says; return how much there was to do.

        Raises:
            RaijinError: If the login node or the scheduler does not answer. Nothing is concluded from that, and the next
                poll asks again.
        """
        report = asdict(Tracker.of(JobSettings.of()).poll(self.raijin))
        self.logger.info("jobs tracked", extra=report)
        return report


handler = TrackJobsCommand.handler
