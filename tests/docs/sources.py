"""The code as the tests of the documentation read it: the texts, options, keys and variables in it, without running it."""

from __future__ import annotations

import ast
import re

from tests.conftest import ROOT

OPTION = re.compile(r"--[a-z][a-z-]*")


def constants(path: str, within: str = "") -> set[str]:
    """Return the texts in a file's code, or in one function or class of it, docstrings left out."""
    tree: ast.AST = ast.parse((ROOT / path).read_text("utf-8"))
    if within:
        [tree] = [one for one in ast.walk(tree) if getattr(one, "name", None) == within]
    docstrings = {id(one.value) for one in ast.walk(tree) if isinstance(one, ast.Expr)}
    return {
        one.value
        for one in ast.walk(tree)
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and id(one) not in docstrings
    }


def options(path: str, within: str = "") -> set[str]:
    """Return the options that a file's code knows."""
    return {text for text in constants(path, within) if OPTION.fullmatch(text)}


def keys(path: str, within: str) -> set[str]:
    """Return the keys of the dictionary that one function writes down: the one with the most of them."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    [function] = [one for one in ast.walk(tree) if getattr(one, "name", None) == within]
    largest = max((one for one in ast.walk(function) if isinstance(one, ast.Dict)), key=lambda one: len(one.keys))
    return {key.value for key in largest.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}


def calls(path: str, name: str) -> set[str]:
    """Return the texts that a file calls something with, as its first argument."""
    return {
        one.args[0].value
        for one in ast.walk(ast.parse((ROOT / path).read_text("utf-8")))
        if isinstance(one, ast.Call)
        and ast.unparse(one.func) == name
        and one.args
        and isinstance(one.args[0], ast.Constant)
        and isinstance(one.args[0].value, str)
    }


def variables_read(*folders: str) -> set[str]:
    """Return the environment variables that the code in some folders reads, by their names or a constant's of the module."""
    found: set[str] = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        values = {
            target.id: one.value.value
            for one in tree.body
            if isinstance(one, ast.Assign) and isinstance(one.value, ast.Constant)
            for target in one.targets
            if isinstance(target, ast.Name)
        }
        for one in ast.walk(tree):
            name: ast.expr | None = None
            if isinstance(one, ast.Subscript) and ast.unparse(one.value) == "os.environ":
                name = one.slice
            elif isinstance(one, ast.Call) and ast.unparse(one.func) in ("os.environ.get", "os.getenv"):
                name = one.args[0]
            if isinstance(name, ast.Constant):
                found.add(str(name.value))
            elif isinstance(name, ast.Name) and name.id in values:
                found.add(str(values[name.id]))
    return found
