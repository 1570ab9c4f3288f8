"""What a Lambda function is made of: command classes, run ids that outlast a retry, answers that fit, logging that shows.

It knows the login node only through `dea.raijin`.
"""
# ruff: noqa: E402 - the garbage collector stands still before the imports

import gc

# What the imports make lives as long as the process does: to look through it for garbage, now and at each collection to come,
# would be time of every cold start.
_collects = gc.isenabled()
gc.disable()

from dea.lambdas.answer import LAMBDA_MAX_BYTES, STEP_FUNCTIONS_MAX_BYTES, answer_of
from dea.lambdas.batch import BatchCommand, NotABatch
from dea.lambdas.commands import BaseCommand, CommandDefinitionError, RaijinCommand
from dea.lambdas.errors import OrchestratorException
from dea.lambdas.identity import Identity, InvalidDelivery
from dea.lambdas.logs import configure_logging
from dea.lambdas.run_ids import DeliveryRunIds

gc.freeze()
if _collects:
    gc.enable()

__all__ = [
    "LAMBDA_MAX_BYTES",
    "STEP_FUNCTIONS_MAX_BYTES",
    "BaseCommand",
    "BatchCommand",
    "CommandDefinitionError",
    "DeliveryRunIds",
    "Identity",
    "InvalidDelivery",
    "NotABatch",
    "OrchestratorException",
    "RaijinCommand",
    "answer_of",
    "configure_logging",
]
