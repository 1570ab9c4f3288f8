"""What stays out of a package, and why: files that neither Lambda's runtime nor the function will ever read.

`inv package --explain` names each rule with what it left out; a test holds each of them.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from dea.workspace.packaging.distributions import Distribution, File
from dea.workspace.packaging.requirements import normalised

RULES = {
    "caches": "compiled files that came along: fresh ones are made for the target",
    "stubs": "types for a checker (*.pyi, py.typed): nothing reads them at run time",
    "tests": "a package's own tests, unless the package itself imports them",
    "metadata": "what an installer keeps of a package (*.dist-info), unless some code reads it",
    "invoke": "paramiko asks for it to run local programs from an ssh_config, which a session here never reads",
    "dispatcher": "dea.remote but for its contract, which runs on the login node alone, unless other code imports it",
    "services": "botocore's and boto3's descriptions of AWS services that function.yaml does not name, and their examples",
    "endpoints": "botocore's list of the endpoints of those services, which it reads through for every client",
}
"""Each rule's name, and why what it leaves out is not needed."""

ALWAYS_SERVICES = frozenset({"sts"})
"""Services whose descriptions are always kept: boto3 asks STS when credentials come by assuming a role."""

_METADATA_KEPT = ("METADATA", "entry_points.txt")
_READS_METADATA = re.compile(
    rb"importlib[._]metadata|pkg_resources|from\s+importlib\s+import\s*(\([^)]*|([^\n\\]|\\\r?\n)*)\bmetadata\b"
)
_QUOTED_NAME = re.compile(r"[\"']([A-Za-z0-9][A-Za-z0-9._-]*)[\"']", re.ASCII)
_READS_ALL_METADATA = re.compile(rb"\b(entry_points|distributions|packages_distributions|working_set)\s*\(")
_IMPORTS_TESTS = re.compile(rb"^\s*(from|import)\s[^\n]*\btests?\b", re.MULTILINE)
_CONTRACT = re.compile(r"dea/remote/(__init__\.py$|contract/)")
_NAMES_DISPATCHER = re.compile(rb"\bdea\.remote\b(?!\.contract\b)|\bdea\s+import\b[^\n]*\bremote\b")
_IMPORTS_DISPATCHER = re.compile(
    rb"(^\s*(from|import)\s[^\n]*|[\"'])(" + _NAMES_DISPATCHER.pattern + rb")", re.MULTILINE
)
_ENDPOINTS = "botocore/data/endpoints.json"
_SERVICE_DATA = re.compile(r"(?:botocore|boto3)/data/([^/]+)/")


@dataclass(frozen=True)
class Uses:
    """What a function and its packages use, as far as rules ask.

    Attributes:
        services: The AWS services, by boto3's names.
        requires: The normalised names of packages that the function itself requires.
        reads_metadata_of: The packages whose metadata some code may read.
        dispatcher: Whether code beside `dea.remote` imports more of it than the contract.
    """

    services: frozenset[str]
    requires: frozenset[str]
    reads_metadata_of: frozenset[str]
    dispatcher: bool


@dataclass
class Selection:
    """What goes into a package of one distribution, and what not.

    Attributes:
        kept: The files that go in.
        left_out: The files that do not, by the rule's name.
        shortened: What goes in of a file instead of all of it, by its name.
    """

    kept: list[File] = field(default_factory=list)
    left_out: dict[str, list[File]] = field(default_factory=dict)
    shortened: dict[str, bytes] = field(default_factory=dict)


def reads_metadata(source: bytes) -> bool:
    r"""Tell whether a module may read the metadata of distributions.

    >>> reads_metadata(b"from importlib import metadata"), reads_metadata(b"import json")
    (True, False)
    >>> reads_metadata(b"from importlib import (\n    metadata,\n)"), reads_metadata(b"from importlib import abc\nmetadata = 1")
    (True, False)
    """
    # First what is quickly looked for: few modules need the rest.
    return (b"metadata" in source or b"pkg_resources" in source) and _READS_METADATA.search(source) is not None


def imports_dispatcher(source: bytes) -> bool:
    """Tell whether a module may import more of `dea.remote` than the contract.

    >>> imports_dispatcher(b"from dea.remote.contract import status"), imports_dispatcher(b"import dea.remote.audit")
    (False, True)
    >>> imports_dispatcher(b"from dea import raijin, remote"), imports_dispatcher(b"run_module('dea.remote')")
    (True, True)
    """
    return _NAMES_DISPATCHER.search(source) is not None and _IMPORTS_DISPATCHER.search(source) is not None


def metadata_read(found: Iterable[Distribution]) -> frozenset[str]:
    """Return the names of the distributions whose metadata one of them may read.

    A distribution that reads metadata may read its own and those that it names in quotes; one that asks for entry points or for
    all distributions, everyone's.
    """
    found = list(found)
    everyone = frozenset(distribution.name for distribution in found)
    read: set[str] = set()
    for distribution in found:
        for file in distribution.files:
            if not file.name.endswith(".py"):
                continue
            source = file.path.read_bytes()
            if not reads_metadata(source):
                continue
            if _READS_ALL_METADATA.search(source):
                return everyone
            read.add(distribution.name)
            read.update(everyone & set(map(normalised, _QUOTED_NAME.findall(source.decode("utf-8", "replace")))))
    return frozenset(read)


def select(distribution: Distribution, uses: Uses) -> Selection:
    """Decide for each file of a distribution whether it goes into the package."""
    imports_tests = any(
        _IMPORTS_TESTS.search(file.path.read_bytes())
        for file in distribution.files
        if file.name.endswith(".py") and not _is_test(file.name)
    )
    selection = Selection()
    for file in distribution.files:
        rule = _rule_against(distribution, file.name, uses, imports_tests=imports_tests)
        if rule is None:
            selection.kept.append(file)
        else:
            selection.left_out.setdefault(rule, []).append(file)
    for file in selection.kept:
        if file.name == _ENDPOINTS:
            selection.shortened[file.name] = _shortened_endpoints(file.path.read_bytes(), selection.kept)
    return selection


def _shortened_endpoints(content: bytes, kept: Iterable[File]) -> bytes:
    """Return botocore's list of endpoints with the services alone whose descriptions are kept.

    The list goes by endpoint prefixes, which a description names: CloudWatch's is `monitoring`.
    """
    prefixes = set()
    for file in kept:
        if _SERVICE_DATA.match(file.name) and file.name.endswith("/service-2.json.gz"):
            prefixes.add(json.loads(gzip.decompress(file.path.read_bytes()))["metadata"]["endpointPrefix"])
    document = json.loads(content)
    for partition in document["partitions"]:
        services = partition["services"]
        partition["services"] = {prefix: services[prefix] for prefix in services if prefix in prefixes}
    return json.dumps(document, separators=(",", ":")).encode()


def _rule_against(distribution: Distribution, name: str, uses: Uses, *, imports_tests: bool) -> str | None:  # noqa: PLR0911 - one for each rule
    first, _, rest = name.partition("/")
    if distribution.name == "invoke" and "invoke" not in uses.requires:
        return "invoke"
    if name.startswith("dea/remote/") and not uses.dispatcher and not _CONTRACT.match(name):
        return "dispatcher"
    if "__pycache__" in name.split("/") or name.endswith((".pyc", ".pyo")):
        return "caches"
    if name.endswith(".pyi") or name.rpartition("/")[2] == "py.typed":
        return "stubs"
    if first.endswith(".dist-info"):
        return None if distribution.name in uses.reads_metadata_of and rest in _METADATA_KEPT else "metadata"
    if _is_test(name) and not imports_tests:
        return "tests"
    service = _SERVICE_DATA.match(name)
    if service is not None and (
        service.group(1) not in uses.services or name.rpartition("/")[2].startswith("examples-")
    ):
        return "services"
    return None


def _is_test(name: str) -> bool:
    """Tell whether a file lies in a folder of tests inside a package.

    >>> _is_test("yaml/tests/data/a.txt"), _is_test("tests.py"), _is_test("numpy/testing/utils.py")
    (True, False, False)
    """
    return any(part in ("tests", "test") for part in name.split("/")[:-1])
