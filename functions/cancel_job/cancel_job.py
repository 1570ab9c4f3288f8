"""Cancels a batch job that is in the table of jobs, and writes there how it stands then."""

from typing import Any

from dea.lambdas import OrchestratorException, RaijinCommand
from dea.lambdas.events import InvalidEvent, fields_of
from dea.lambdas.jobs import JobSettings, Tracker, cancelled, is_job_id, perform
from dea.raijin import Call


class CancelJobCommand(RaijinCommand):
    """Cancels one job. One that was not submitted through the table is somebody else's, and left alone."""

    COMMAND_NAME = "cancel_job"

    def command(self) -> dict[str, Any]:
        """Do what the event asks for: `{"job_id": ID}`.

        Returns:
            `job_id`, `run_id`, and the `state` after the request. It can be `running` still: the tracker sees the end.

        Raises:
            InvalidEvent: If the event is none of that form. Nothing was asked for.
            OrchestratorException: If there is no such job in the table, or the command failed.
        """
        job_id = fields_of(self.event, "job_id").get("job_id")
        if not isinstance(job_id, str) or not is_job_id(job_id):
            raise InvalidEvent(f"the event's job_id is {job_id!r:.80}: give the id of a job, as submit_job returns it")
        settings = JobSettings.of()
        tracker = Tracker.of(settings)
        found = tracker.table.find(job_id)
        if not found:
            raise OrchestratorException(
                f"there is no job {job_id!r:.80} in the table {settings.table}: only what submit_job recorded is cancelled here"
            )
        record = found[-1]
        if not record.ended:
            result = perform(self.raijin, Call.of("cancel_job", job_id))
            if not result.ok:
                raise OrchestratorException(f"job {job_id} could not be cancelled", *result)
            written = tracker.note([(record, *cancelled(result))])
            record = (written or tracker.table.find(job_id))[-1]
            self.logger.info("cancelled", extra={"job_id": job_id, "run_id": record.run_id, "state": record.job.state})
        return {"job_id": job_id, "run_id": record.run_id, "state": record.job.state}


handler = CancelJobCommand.handler
