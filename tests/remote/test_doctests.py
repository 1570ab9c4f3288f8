"""What the docstrings show is what happens."""

import doctest
import importlib
import pkgutil

import pytest

import dea.remote

MODULES = ["dea.remote", *(found.name for found in pkgutil.walk_packages(dea.remote.__path__, "dea.remote."))]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
