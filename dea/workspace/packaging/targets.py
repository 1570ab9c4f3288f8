"""What a package is made for: a version of Python on one of Lambda's architectures, never the machine that builds it."""

from __future__ import annotations

from dataclasses import dataclass

# Lambda's base images: Amazon Linux 2 up to python3.11, Amazon Linux 2023 from python3.12 on.
_GLIBC_UP_TO_3_11 = (2, 26)
_GLIBC = (2, 34)
# uv names a few of the steps of manylinux only; this is the highest that the older image can take.
_MANYLINUX_UP_TO_3_11 = "manylinux_2_17"
_MANYLINUX = "manylinux_2_34"
_MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Target:
    """A runtime of AWS Lambda.

    Attributes:
        python: Its minor version, `3.13`.
        architecture: Lambda's name of its instruction set, `x86_64` or `arm64`.
    """

    python: str
    architecture: str

    def __str__(self) -> str:
        return f"Python {self.python} on {self.architecture}"

    @property
    def glibc(self) -> tuple[int, int]:
        """The version of the C library that the runtime has.

        >>> Target("3.11", "x86_64").glibc, Target("3.13", "arm64").glibc
        ((2, 26), (2, 34))
        """
        return _GLIBC_UP_TO_3_11 if self.python == "3.11" else _GLIBC

    @property
    def machine(self) -> str:
        """The kernel's name of the architecture, as in wheels' tags: `x86_64` or `aarch64`."""
        return _MACHINES[self.architecture]

    @property
    def uv_options(self) -> tuple[str, ...]:
        """The options that have uv choose for this target.

        >>> Target("3.13", "arm64").uv_options
        ('--python-version', '3.13', '--python-platform', 'aarch64-manylinux_2_34')
        """
        manylinux = _MANYLINUX_UP_TO_3_11 if self.python == "3.11" else _MANYLINUX
        return ("--python-version", self.python, "--python-platform", f"{self.machine}-{manylinux}")
