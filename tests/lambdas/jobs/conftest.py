"""AWS in this process (moto), and a world around a tracker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto import mock_aws

from tests.lambdas.jobs.world import World


@pytest.fixture
def world() -> Iterator[World]:
    with mock_aws():
        yield World()
