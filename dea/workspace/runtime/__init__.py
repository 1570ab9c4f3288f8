"""Runs a function as AWS Lambda does, on this machine: under AWS's own runtime client, from its package.

The client (`awslambdaric`) asks a Runtime API of ours, on the loopback interface, for one event after another. Time, memory and
sizes are limited as on Lambda, failures have the documents that Lambda gives, and each invocation has its report. It starts no
sandbox and reads no settings: it is told what to run and with which variables.
"""

from dea.workspace.runtime.client import install as install_client
from dea.workspace.runtime.deployed import LOG_FORMATS, RESERVED, Deployed
from dea.workspace.runtime.lifecycle import MAX_PAYLOAD_BYTES, Invocation, Runtime
from dea.workspace.runtime.report import Report
from dea.workspace.runtime.task_root import Manifest, TaskRoot, manifest, unpacked, working_tree

__all__ = [
    "LOG_FORMATS",
    "MAX_PAYLOAD_BYTES",
    "RESERVED",
    "Deployed",
    "Invocation",
    "Manifest",
    "Report",
    "Runtime",
    "TaskRoot",
    "install_client",
    "manifest",
    "unpacked",
    "working_tree",
]
