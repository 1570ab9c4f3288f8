"""Fixtures that all tests share, and what keeps them honest: no user's keys or clouds, real parts required in CI."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# dea.remote's tests run with nothing installed but pytest: there the sandbox and what it needs are not to be had.
collect_ignore = (
    [] if importlib.util.find_spec("paramiko") else ["docs", "end_to_end", "raijin", "lambdas", "workspace"]
)


# A shell that starts the tests in the background ignores SIGINT for them, and every process that they start would too.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _nothing_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hide the user's home folder, SSH agent and AWS settings, so that no test can depend on them or touch them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "DEA_", "SSH_"))]:
            patch.delenv(name)
        # uv's and the packages' caches are no settings; a cold one for every run would only cost time.
        cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
        data = os.environ.get("XDG_DATA_HOME", str(Path.home() / ".local" / "share"))
        pyenv = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
        for name, value in (("XDG_CACHE_HOME", cache), ("XDG_DATA_HOME", data), ("PYENV_ROOT", pyenv)):
            patch.setenv(name, value)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="module")
def aws_endpoint() -> str:
    """An AWS for one module. moto's servers in one process have one state between them, so it is emptied first."""
    import urllib.request

    from dea.workspace.sandbox import aws

    endpoint = aws.start()
    reset = urllib.request.Request(f"{endpoint}/moto-api/reset", b"")
    # A proxy would be asked for loopback addresses too.
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(reset, timeout=10).close()
    return endpoint


def require(missing: str | None) -> None:
    """Skip the running test because a real part is missing, with the line that says what to install; fail in CI."""
    if missing is None:
        return
    if os.environ.get("CI"):
        pytest.fail(f"a real part is missing, which CI must have: {missing}")
    pytest.skip(missing)
