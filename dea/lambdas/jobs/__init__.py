"""Batch jobs as a function knows them: recorded once they are submitted, followed to their end, told of at each change.

It asks the login node's commands through a session, keeps what it knows in one DynamoDB table, and tells EventBridge and
CloudWatch. What a scheduler is, it does not know: both ends share `dea.remote.contract.job`, nothing else.
"""

from dea.lambdas.jobs.asking import AnswerOfNoJob, ask, cancelled, perform, submitted
from dea.lambdas.jobs.bus import EventBus, EventsClient
from dea.lambdas.jobs.record import Change, JobRecord, recorded
from dea.lambdas.jobs.settings import InvalidSetting, JobSettings
from dea.lambdas.jobs.table import JobsTable, TableMissing
from dea.lambdas.jobs.tracker import Report, Tracker
from dea.remote.contract.job import is_job_id

__all__ = [
    "AnswerOfNoJob",
    "Change",
    "EventBus",
    "EventsClient",
    "InvalidSetting",
    "JobRecord",
    "JobSettings",
    "JobsTable",
    "Report",
    "TableMissing",
    "Tracker",
    "ask",
    "cancelled",
    "is_job_id",
    "perform",
    "recorded",
    "submitted",
]
