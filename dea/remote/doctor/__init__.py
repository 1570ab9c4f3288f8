"""Looks at a login node: whether what the dispatcher relies on is so, and what to do where it is not.

It is what `python3 dea/remote --doctor` answers, by hand only. It changes nothing: what it writes to try the file system, it
removes. The checks are functions in modules by what they look at; `answer` puts them together. Standard library only; nothing
of it is imported by a dispatch. docs/reference/doctor.md has a line for each check.
"""

from dea.remote.doctor.answer import CHECKS, report

__all__ = ["CHECKS", "report"]
