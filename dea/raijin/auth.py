"""The name that existing functions import from: `from dea.raijin.auth import RaijinSession`."""

from dea.raijin.parameter_store import get_ssm_parameter
from dea.raijin.session import RaijinSession

__all__ = ["RaijinSession", "get_ssm_parameter"]
