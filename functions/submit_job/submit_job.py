"""Submits a batch job by a command of the login node, once for each event, and records it in the table of jobs."""

import datetime
from typing import Any

from dea.lambdas import OrchestratorException, RaijinCommand
from dea.lambdas.events import call_of
from dea.lambdas.jobs import JobSettings, JobsTable, perform, recorded, submitted


class SubmitJobCommand(RaijinCommand):
    """Runs a command that submits, and records the job that it names."""

    COMMAND_NAME = "submit_job"

    def command(self) -> dict[str, Any]:
        """Do what the event asks for: `{"command": "submit_job", "arguments": {...}}`, or another command that submits.

        Returns:
            `job_id`, `run_id`, `name`, `scheduler`, `submitted`, and the `state` that the table has.

        Raises:
            InvalidEvent: If the event is none of that form. Nothing ran.
            RequestRefused: If the arguments break the command's schema. Nothing ran.
            OrchestratorException: If the command failed, or named no job. A retry is told the same, but makes another attempt if the
                scheduler did not answer.

        Note:
            Killed in between, the retry of the event gets the first run's answer, and records that job.
        """
        call = call_of(self.event, default="submit_job")
        table = JobsTable(JobSettings.of().table)
        result = perform(self.raijin, call)
        if not result.ok:
            raise OrchestratorException("no job is known to have been submitted", *result)
        answer = submitted(result)
        run_id = answer.run_id or result.run_id or ""
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        name = call.command.partition(" ")[0]
        # Before it is recorded: if that fails for good, this is where the job's id is.
        self.logger.info("job submitted", extra={"job_id": answer.job_id, "run_id": run_id})
        record = table.record(recorded(answer, run_id=run_id, command=name, now=now))
        self.logger.info("job recorded", extra={"job_id": answer.job_id, "run_id": run_id, "state": record.job.state})
        return {
            "job_id": answer.job_id,
            "run_id": run_id,
            "name": answer.name,
            "scheduler": answer.scheduler,
            "submitted": answer.submitted,
            "state": record.job.state,
        }


handler = SubmitJobCommand.handler
