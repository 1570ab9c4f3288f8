"""How Sphinx builds the documentation: `nox -s docs`. A warning is an error."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS / "_ext")]


def _version() -> str:
    """Read the version where the login node's end states it, without running anything."""
    for statement in ast.parse((ROOT / "dea" / "remote" / "__init__.py").read_text("utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__version__":
            return str(ast.literal_eval(statement.value))
    raise RuntimeError("dea/remote/__init__.py states no __version__")


project = "dea-orchestration"
copyright = "the dea-orchestration authors"
version = release = _version()

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "benchmark_table",
    "checkout_reference",
    "drawing",
    "markdown_docstrings",
    "page_list",
    "public_names",
    "source_pages",
    "task_reference",
]
exclude_patterns = ["_build"]
nitpicky = True
# Options are written with two hyphens, not with a dash.
smartquotes = False
# What docstrings put into single backticks is code.
default_role = "code"

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_use_ivar = True
# `Timeouts()` in a signature says more than its six fields.
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100

# The inventories of other projects are not fetched, so that a build needs no network: these names stay plain text.
nitpick_ignore_regex = [
    (r"py:.*", r"(paramiko|datetime|pathlib|psutil|logging|collections|typing|mypy_boto3_\w+|os)\..+"),
    (
        r"py:.*",
        r"(Any|ClassVar|Exception|Logger|None|Rules|Self|.*\w+Client|ClientError|TracebackType|TypeError|ValueError|WorkspaceError)",
    ),
    (r"py:.*", r"(bool|bytes|dict|float|int|list|object|set|str|tuple|type)"),
]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_title = f"{project} {release}"
html_show_sourcelink = False
