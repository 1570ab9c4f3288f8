"""What is in a package, what is not, and what keeps one from being built."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from dea.workspace import checkout, interpreters, packaging
from dea.workspace.errors import WorkspaceError
from dea.workspace.packaging import cache, rules
from dea.workspace.packaging.assembly import NoCompiler
from tests.conftest import require
from tests.workspace.packaging.conftest import PYTHONS, MakeFunction
from tests.workspace.packaging.wheels import make_sdist, make_wheel

PYTHON = PYTHONS[-1]
TAG = f"cpython-{PYTHON.replace('.', '')}"


def names(package: packaging.Package) -> set[str]:
    """The names of the files in a package, without folders."""
    with zipfile.ZipFile(package.path) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def manifest(package: packaging.Package) -> dict[str, object]:
    with zipfile.ZipFile(package.path) as archive:
        return json.loads(archive.read(packaging.MANIFEST))  # type: ignore[no-any-return]


def test_holds_the_function_what_it_requires_and_their_compiled_forms(
    make_function: MakeFunction, root: Path, index: Path
) -> None:
    make_wheel(index, "one", files={"one/__init__.py": "X = 1\n", "one/data.txt": "data"}, requires=["two"])
    make_wheel(index, "two", files={"two.py": ""})
    function = make_function(requirements="one\n")
    (function.folder / "more.json").write_text("{}", "utf-8")
    built = packaging.build(function, root=root)
    assert built.path == root / "dist" / "tidy.zip"
    assert names(built) == {
        "tidy.py", f"__pycache__/tidy.{TAG}.pyc", "more.json", "one/__init__.py", f"one/__pycache__/__init__.{TAG}.pyc",
        "one/data.txt", "two.py", f"__pycache__/two.{TAG}.pyc", packaging.MANIFEST,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ('build-backend = "hatchling.build"', 'build-backend = "no_such_backend"', "No module named 'no_such_backend'"),
        ('readme = "README.md"', 'readme = "NOT_THERE.md"', "NOT_THERE.md"),
    ],
)
def test_an_internal_package_that_cannot_be_built_is_named(
    make_function: MakeFunction, root: Path, index: Path, before: str, after: str, reason: str
) -> None:
    settings = root / "dea" / "remote" / "pyproject.toml"
    assert before in settings.read_text("utf-8")
    settings.write_text(settings.read_text("utf-8").replace(before, after), "utf-8")
    with pytest.raises(WorkspaceError, match=r"building \S*dea/remote failed: .*") as caught:
        packaging.build(make_function(requirements="./dea/remote\n"), root=root)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_internal_packages_come_from_the_checkout(make_function: MakeFunction, root: Path, index: Path) -> None:
    (root / "dea" / "remote" / "contract" / "added.py").write_text("ADDED = True\n", "utf-8")
    built = packaging.build(make_function(requirements="./dea/remote\n"), root=root)
    assert {"dea/remote/contract/added.py", "dea/remote/contract/words.py"} <= names(built)
    assert "dea/__init__.py" not in names(built)


def test_what_is_for_development_stays_out(make_function: MakeFunction, root: Path, index: Path) -> None:
    function = make_function()
    (function.folder / "tests").mkdir()
    for name in ("tests/test_tidy.py", "README.md", ".hidden", "env_vars.yaml", "requirements-test.txt"):
        (function.folder / name).write_text("", "utf-8")
    built = packaging.build(function, root=root)
    assert names(built) == {"tidy.py", f"__pycache__/tidy.{TAG}.pyc", packaging.MANIFEST}


@pytest.mark.parametrize("rule", sorted({*rules.RULES} - {"endpoints"}))
def test_each_rule_leaves_out_what_it_says(make_function: MakeFunction, root: Path, index: Path, rule: str) -> None:
    kept, left_out = {
        "caches": ({"one.py": ""}, {"__pycache__/one.cpython-35.pyc": "", "old.pyc": ""}),
        "stubs": ({"one/__init__.py": "", "one/typed.py": ""}, {"one/__init__.pyi": "", "one/py.typed": ""}),
        "tests": (
            {"one/__init__.py": "", "one/testing.py": ""},
            {"one/tests/__init__.py": "", "one/sub/test/data.bin": "x"},
        ),
        "metadata": (
            {"one.py": ""},
            {"one-1.0.dist-info/licenses/LICENSE": "", "one-1.0.dist-info/entry_points.txt": ""},
        ),
        "invoke": ({"one.py": ""}, {}),
        "dispatcher": (
            {
                "dea/remote/__init__.py": "",
                "dea/remote/contract/status.py": "",
                "one.py": "from dea.remote.contract import status",
            },
            {"dea/remote/audit.py": "", "dea/remote/contractor.py": "", "dea/remote/runs/__init__.py": ""},
        ),
        "services": (
            {
                "botocore/__init__.py": "",
                "botocore/data/partitions.json": "{}",
                "botocore/data/sts/2011/service-2.json.gz": "x",
            },
            {"botocore/data/ec2/2016/service-2.json.gz": "x", "botocore/data/sts/2011/examples-1.json": "{}"},
        ),
    }[rule]
    name = "botocore" if rule == "services" else "one"
    make_wheel(index, name, files={**kept, **left_out}, requires=["invoke"] if rule == "invoke" else [])
    make_wheel(index, "invoke", files={"invoke/__init__.py": ""})
    built = packaging.build(make_function(requirements=f"{name}\n"), root=root)
    assert set(kept) <= names(built)
    assert not set(left_out) & names(built)
    assert not any(file.startswith("invoke/") or ".dist-info/" in file for file in names(built))
    said = {rule_ for part in built.sizes for rule_ in part.left_out}
    assert rule in said
    assert rule in json.dumps(manifest(built))


@pytest.mark.parametrize("importer", ["the function", "an internal package"])
def test_the_dispatcher_stays_if_something_imports_it(
    make_function: MakeFunction, root: Path, index: Path, importer: str
) -> None:
    source = "from dea.remote import digest\n\n\ndef handler(event, context):\n    return event\n"
    requirements = "./dea/remote\n"
    if importer == "an internal package":
        (root / "dea" / "other").mkdir()
        (root / "dea" / "other" / "other.py").write_text(source, "utf-8")
        project = (root / "dea" / "remote" / "pyproject.toml").read_text("utf-8").replace("dea-remote", "dea-other")
        (root / "dea" / "other" / "pyproject.toml").write_text(
            project.replace("dea/remote", "dea/other").replace('readme = "README.md"', ""), "utf-8"
        )
        source, requirements = "def handler(event, context): pass\n", requirements + "./dea/other\n"
    built = packaging.build(make_function(requirements=requirements, source=source), root=root)
    assert {"dea/remote/digest.py", "dea/remote/runs/store.py"} <= names(built)


def test_what_stays_out_has_a_say_in_the_bytes_all_the_same(
    make_function: MakeFunction, root: Path, index: Path
) -> None:
    function = make_function(requirements="./dea/remote\n")
    before = packaging.build(function, root=root)
    assert "dea/remote/digest.py" not in names(before)
    with (root / "dea" / "remote" / "digest.py").open("a", encoding="utf-8") as module:
        module.write("# A comment.\n")
    assert packaging.build(function, root=root).sha256 != before.sha256


def test_tests_stay_if_the_package_imports_them(make_function: MakeFunction, root: Path, index: Path) -> None:
    make_wheel(index, "one", files={"one/__init__.py": "from one.tests import fixtures\n", "one/tests/fixtures.py": ""})
    assert "one/tests/fixtures.py" in names(packaging.build(make_function(requirements="one\n"), root=root))


def test_metadata_stays_where_a_package_reads_it(make_function: MakeFunction, root: Path, index: Path) -> None:
    make_wheel(
        index,
        "one",
        files={"one.py": "from importlib import metadata\nmetadata.version('two')\n"},
        requires=["two", "three"],
    )
    make_wheel(index, "two")
    make_wheel(index, "three")
    built = packaging.build(make_function(requirements="one\n"), root=root)
    assert {name for name in names(built) if "dist-info" in name} == {
        "one-1.0.dist-info/METADATA",
        "two-1.0.dist-info/METADATA",
    }


@pytest.mark.parametrize("reader", ["entry_points", "function"])
def test_all_metadata_stays_where_anyones_may_be_read(
    make_function: MakeFunction, root: Path, index: Path, reader: str
) -> None:
    source = "import importlib.metadata\nimportlib.metadata.entry_points(group='x')\n"
    make_wheel(index, "one", files={"one.py": source if reader == "entry_points" else ""})
    make_wheel(index, "two")
    handler = "def handler(event, context): pass\n" + (source if reader == "function" else "")
    built = packaging.build(make_function(requirements="one\ntwo\n", source=handler), root=root)
    assert {"one-1.0.dist-info/METADATA", "two-1.0.dist-info/METADATA"} <= names(built)


def test_metadata_stays_of_a_name_in_another_spelling_and_of_internal_packages(
    make_function: MakeFunction, root: Path, index: Path
) -> None:
    reader = "from importlib import (\n    metadata,\n)\nVERSIONS = metadata.version('PyYAML'), metadata.version(\"typing_extensions\")\n"
    make_wheel(index, "one", files={"one.py": reader})
    for name in ("pyyaml", "typing_extensions", "two"):
        make_wheel(index, name)
    third_party = "one\npyyaml\ntyping_extensions\ntwo\n"
    kept = names(packaging.build(make_function(requirements=third_party), root=root))
    assert {name for name in kept if name.endswith("/METADATA")} == {
        f"{name}-1.0.dist-info/METADATA" for name in ("one", "pyyaml", "typing_extensions")
    }
    handler = (
        "import importlib.metadata\ndef handler(event, context): return importlib.metadata.version('dea-remote')\n"
    )
    kept = names(packaging.build(make_function("other", "./dea/remote\n", handler), root=root))
    assert any(name.startswith("dea_remote-") and name.endswith(".dist-info/METADATA") for name in kept)


def test_invoke_stays_if_the_function_names_it(make_function: MakeFunction, root: Path, index: Path) -> None:
    make_wheel(index, "invoke", files={"invoke/__init__.py": ""})
    assert "invoke/__init__.py" in names(packaging.build(make_function(requirements="invoke\n"), root=root))


def test_services_that_the_function_names_are_described(make_function: MakeFunction, root: Path, index: Path) -> None:
    files = {
        "botocore/__init__.py": "",
        "botocore/data/s3/2006/service-2.json.gz": "x",
        "botocore/data/sts/2011/service-2.json.gz": "x",
    }
    make_wheel(index, "botocore", files=files)
    function = make_function(requirements="botocore\n", settings=f'python: "{PYTHON}"\nservices: [s3]\n')
    assert set(files) <= names(packaging.build(function, root=root))
    (function.folder / "function.yaml").write_text(f'python: "{PYTHON}"\nservices: [s4]\n', "utf-8")
    with pytest.raises(WorkspaceError, match=r"services that botocore 1\.0 does not know: s4"):
        packaging.build(function, root=root)


def test_endpoints_of_services_that_are_not_packaged_stay_out(
    make_function: MakeFunction, root: Path, index: Path
) -> None:
    def described(prefix: str) -> bytes:
        return gzip.compress(json.dumps({"metadata": {"endpointPrefix": prefix}}).encode())

    services = {"monitoring": {"endpoints": {"x": {}}}, "sts": {}, "ec2": {}}
    files = {
        "botocore/__init__.py": "",
        "botocore/data/endpoints.json": json.dumps(
            {"partitions": [{"partition": "aws", "services": services}], "version": 3}
        ),
        "botocore/data/cloudwatch/2010/service-2.json.gz": described("monitoring"),
        "botocore/data/sts/2011/service-2.json.gz": described("sts"),
        "botocore/data/ec2/2016/service-2.json.gz": described("ec2"),
    }
    make_wheel(index, "botocore", files=files)
    settings = f'python: "{PYTHON}"\nservices: [cloudwatch]\n'
    built = packaging.build(make_function(requirements="botocore\n", settings=settings), root=root)
    with zipfile.ZipFile(built.path) as archive:
        document = json.loads(archive.read("botocore/data/endpoints.json"))
    assert document == {
        "partitions": [{"partition": "aws", "services": {"monitoring": {"endpoints": {"x": {}}}, "sts": {}}}],
        "version": 3,
    }
    assert "endpoints" in built.sizes[0].left_out


def test_a_service_that_a_module_asks_for_and_the_function_does_not_name_is_an_error(
    make_function: MakeFunction, root: Path, index: Path
) -> None:
    function = make_function(source="import boto3\n\ndef handler(event, context):\n    return boto3.client('s3')\n")
    with pytest.raises(WorkspaceError, match=r"line 4 of .*tidy.py asks boto3 for 's3'.*names it under services"):
        packaging.build(function, root=root)


def test_the_client_of_another_library_needs_no_word(make_function: MakeFunction, root: Path, index: Path) -> None:
    source = "import boto3\nclass Pool:\n    def client(self, name): return name\nPool().client('s3')\n"
    function = make_function(source=f"{source}def handler(event, context): return event\n")
    assert packaging.build(function, root=root).size_bytes
    function.source.write_text(source.replace("Pool().client(", "boto3.client(service_name="), "utf-8")
    with pytest.raises(WorkspaceError, match=r"line 4 of .*tidy.py asks boto3 for 's3'"):
        packaging.build(function, root=root)


def test_modules_are_compiled_as_unchecked_hash_for_the_target(
    make_function: MakeFunction, root: Path, index: Path, tmp_path: Path
) -> None:
    built = packaging.build(
        make_function(source="def handler(event, context): return __file__, handler.__code__.co_filename\n"), root=root
    )
    with zipfile.ZipFile(built.path) as archive:
        archive.extractall(tmp_path / "out")
        compiled = archive.read(f"__pycache__/tidy.{TAG}.pyc")
    assert int.from_bytes(compiled[4:8], "little") == 1
    found = interpreters.find(PYTHON)
    assert found is not None
    program = "import sys, importlib.util as u; sys.stdout.buffer.write(u.MAGIC_NUMBER + u.source_hash(open(sys.argv[1], 'rb').read()))"
    hashed = subprocess.run(
        [found[0], "-I", "-c", program, tmp_path / "out" / "tidy.py"], capture_output=True, check=True
    ).stdout
    assert compiled[:4] + compiled[8:16] == hashed
    # The source is not read: what it says now is not what runs, and tracebacks name the file where it lies now.
    (tmp_path / "out" / "tidy.py").write_text("raise SystemExit(3)\n", "utf-8")
    program = "import sys; sys.path[:0] = [sys.argv[1]]; import tidy; print(*tidy.handler(None, None))"
    done = subprocess.run([found[0], "-I", "-c", program, tmp_path / "out"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(tmp_path / "out" / "tidy.py")] * 2


def test_without_a_compiler_the_package_has_sources_alone(
    make_function: MakeFunction, root: Path, index: Path, no_compiler: None
) -> None:
    function = make_function()
    built = packaging.build(function, root=root)
    assert not built.has_pyc
    assert names(built) == {"tidy.py", packaging.MANIFEST}
    assert manifest(built)["interpreter"] is None
    with pytest.raises(NoCompiler, match=r"no Python 3\.\d+ to compile with: .* uv python install 3"):
        packaging.build(function, require_pyc=True, root=root)


def test_a_syntax_error_for_the_target_names_its_line_and_leaves_the_zip_alone(
    make_function: MakeFunction, root: Path, index: Path
) -> None:
    function = make_function()
    before = packaging.build(function, root=root).path.read_bytes()
    function.source.write_text("def handler(event, context):\n    return (\n", "utf-8")
    with pytest.raises(
        WorkspaceError, match=rf"line 2 of functions/tidy/tidy\.py is no Python {PYTHON}: '\(' was never closed"
    ):
        packaging.build(function, root=root)
    assert (root / "dist" / "tidy.zip").read_bytes() == before


def test_anothers_module_that_is_no_python_of_the_target_is_packaged_as_it_is(
    make_function: MakeFunction, root: Path, index: Path
) -> None:
    make_wheel(index, "one", files={"one/__init__.py": "", "one/template.py": "{{ placeholder }\n"})
    built = packaging.build(make_function(requirements="one\n"), root=root)
    assert "one/template.py" in names(built)
    assert f"one/__pycache__/template.{TAG}.pyc" not in names(built)


def test_a_handler_that_is_not_there_is_noticed(make_function: MakeFunction, root: Path, index: Path) -> None:
    function = make_function(settings="handler: other.handler\n")
    with pytest.raises(WorkspaceError, match=r"has no module other\.py, which the handler other\.handler is in"):
        packaging.build(function, root=root)


def test_a_pin_without_what_it_requires_is_noticed(make_function: MakeFunction, root: Path, index: Path) -> None:
    make_wheel(
        index, "one", requires=["two>=2; python_version >= '3'", "three; sys_platform == 'win32'", "four; extra == 'x'"]
    )
    make_wheel(index, "two", "2.0")
    function = make_function(requirements="one\n")
    packaging.build(function, root=root)
    # The same name and version, now with more requirements than were locked: another index, another target.
    cache_folder = cache.folder()
    make_wheel(index, "one", requires=["five"])
    lock = function.folder / "requirements.lock"
    from dea.workspace.packaging import locking

    text = lock.read_text("utf-8")
    body = text[text.index("one==") :].split("two==")[0].split("--hash")[0]
    import hashlib

    digest = hashlib.sha256((index / "one-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    body += f"--hash=sha256:{digest}\n"
    header = text.splitlines()[:2]
    lock.write_text("\n".join([*header, f"# pins: sha256:{hashlib.sha256(body.encode()).hexdigest()}", body]), "utf-8")
    assert lock.name == locking.FILE_NAME and cache_folder.is_dir()
    with pytest.raises(WorkspaceError, match="one needs five, which is not pinned"):
        packaging.build(function, root=root)


def test_two_wheels_with_a_file_of_one_name_are_an_error_unless_it_is_the_same_file(
    make_function: MakeFunction, root: Path, index: Path
) -> None:
    make_wheel(index, "one", files={"shared/__init__.py": "", "shared/a.py": "A = 1\n"})
    make_wheel(index, "two", files={"shared/__init__.py": "", "shared/a.py": "A = 2\n"})
    make_wheel(index, "three", files={"shared/__init__.py": "", "shared/b.py": ""})
    with pytest.raises(
        WorkspaceError, match=r"one and two both have a file shared/a\.py: only one of them can be in a package"
    ):
        packaging.build(make_function(requirements="one\ntwo\n"), root=root)
    built = packaging.build(
        make_function("other", requirements="one\nthree\n", source="def handler(e, c): pass\n"), root=root
    )
    with zipfile.ZipFile(built.path) as archive:
        assert sorted(archive.namelist()).count("shared/__init__.py") == 1


def test_a_module_of_the_function_may_not_hide_a_package(make_function: MakeFunction, root: Path, index: Path) -> None:
    make_wheel(index, "one", files={"one/__init__.py": ""})
    function = make_function(requirements="one\n")
    (function.folder / "one.py").write_text("", "utf-8")
    with pytest.raises(WorkspaceError, match=r"functions/tidy/one\.py would hide the package one: rename it"):
        packaging.build(function, root=root)


def test_a_non_ascii_file_name_arrives_as_it_is(
    make_function: MakeFunction, root: Path, index: Path, tmp_path: Path
) -> None:
    function = make_function()
    (function.folder / "größe-🌏.txt").write_text("x", "utf-8")
    built = packaging.build(function, root=root)
    assert "größe-🌏.txt" in names(built)
    subprocess.run(
        ["unzip", "-q", built.path, "-d", tmp_path / "out"], env={**os.environ, "LC_ALL": "C.UTF-8"}, check=True
    )
    assert (tmp_path / "out" / "größe-🌏.txt").read_text("utf-8") == "x"


def test_a_name_that_is_not_utf8_and_a_link_are_refused(make_function: MakeFunction, root: Path, index: Path) -> None:
    function = make_function()
    link = function.folder / "link.py"
    link.symlink_to("/etc/passwd")
    with pytest.raises(WorkspaceError, match=r"link\.py is a symbolic link: put the file itself there"):
        packaging.build(function, root=root)
    link.unlink()
    (function.folder / os.fsdecode(b"\xff.txt")).write_text("", "utf-8")
    with pytest.raises(WorkspaceError, match="has a name that is not UTF-8: rename it"):
        packaging.build(function, root=root)


def test_a_hash_that_does_not_match_is_an_error(
    make_function: MakeFunction, root: Path, index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_wheel(index, "one", files={"one.py": "X = 1\n"})
    function = make_function(requirements="one\n")
    packaging.lock(function, root=root)
    make_wheel(index, "one", files={"one.py": "import os; EVIL = 1\n"})
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cold"))  # what was locked is not to be had any more
    with pytest.raises(WorkspaceError, match=r"installing the pins of tidy .* failed: .*[Hh]ash.*one") as caught:
        packaging.build(function, root=root)
    assert "\n" not in str(caught.value)
    assert not (root / "dist").exists()


def test_without_a_network_a_warm_cache_is_enough_and_a_cold_one_says_so(
    make_function: MakeFunction, root: Path, index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_wheel(index, "one")
    function = make_function(requirements="one\n./dea/remote\n")
    before = packaging.build(function, root=root)
    for name in ("UV_FIND_LINKS", "UV_OFFLINE"):
        monkeypatch.delenv(name)
    # The discard port of this machine: nothing listens there, as when there is no network.
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    function.source.write_text("def handler(event, context): return 2\n", "utf-8")
    after = packaging.build(function, root=root)
    assert after.sha256 != before.sha256
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cold"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cold-uv"))
    with pytest.raises(WorkspaceError, match=r"installing the pins of tidy .* failed: .*Connection refused") as caught:
        packaging.build(function, root=root)
    assert "\n" not in str(caught.value)


def test_a_source_distribution_is_built_if_it_is_pure(make_function: MakeFunction, root: Path, index: Path) -> None:
    make_sdist(index, "one", tag="py3-none-any")
    assert "one.py" in names(packaging.build(make_function(requirements="one\n"), root=root))


def test_a_source_distribution_that_is_not_pure_is_an_error_with_the_way_out(
    make_function: MakeFunction, root: Path, index: Path
) -> None:
    version = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    make_sdist(index, "one", tag=f"{version}-{version}-linux_x86_64")
    with pytest.raises(
        WorkspaceError,
        match=r"one 1\.0 has no wheel for Python .* pin a version that has one, or replace it \(it is not pure Python\)",
    ):
        packaging.build(
            make_function(requirements="one\n", settings=f'python: "{version[2]}.{version[3:]}"\n'), root=root
        )


def test_a_wheel_for_another_architecture_alone_is_an_error_that_names_it(
    make_function: MakeFunction, root: Path, index: Path
) -> None:
    make_wheel(index, "one", tag="py3-none-manylinux_2_17_x86_64")
    function = make_function(requirements="one\n")
    packaging.build(function, root=root)
    with pytest.raises(WorkspaceError, match=r"one has no wheel for Python .* on arm64 .*: pin a version that has one"):
        packaging.build(function, architecture="arm64", root=root)


def test_too_large_a_package_names_the_largest_parts(
    make_function: MakeFunction, root: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dea.workspace.packaging.assembly.MAX_UNZIPPED_BYTES", 100_000)
    make_wheel(index, "large", files={"large.bin": bytes(200_000)})
    make_wheel(index, "small")
    function = make_function(requirements="large\nsmall\n")
    with pytest.raises(
        WorkspaceError, match=r"tidy is 0\.2 MB unzipped, and Lambda takes 0\.1 MB: the largest are large 1\.0 0\.2 MB"
    ):
        packaging.build(function, root=root)


def test_a_full_disk_is_one_clear_error_and_the_zip_that_was_there_stays(
    make_function: MakeFunction, root: Path, index: Path, tmp_path: Path
) -> None:
    require(None if os.getuid() == 0 else "mounting a small file system (run as root)")
    full = tmp_path / "full"
    full.mkdir()
    function = make_function()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", full], check=True)
    try:
        output = full / "tidy.zip"
        before = packaging.build(function, output=output, root=root).path.read_bytes()
        (function.folder / "random.bin").write_bytes(os.urandom(100_000))
        with pytest.raises(
            WorkspaceError, match="cannot be written: No space left on device; what was there is as it was"
        ):
            packaging.build(function, output=output, root=root)
        assert [path.name for path in full.iterdir()] == ["tidy.zip"]
        assert output.read_bytes() == before
    finally:
        subprocess.run(["umount", full], check=True)


def test_a_full_cache_is_one_clear_error_that_names_it(
    make_function: MakeFunction, root: Path, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(None if os.getuid() == 0 else "mounting a small file system (run as root)")
    make_wheel(index, "one", files={"one/__init__.py": "", "one/large.bin": os.urandom(1_000_000)})
    other = make_function("other", requirements="one\n")
    own = make_function("own")
    (own.folder / "random.bin").write_bytes(os.urandom(1_000_000))
    full = tmp_path / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", full], check=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(full))
    try:
        for one in (own, other):
            with pytest.raises(WorkspaceError, match=f"(?i){re.escape(str(full))}.*No space left on device") as caught:
                packaging.build(one, root=root)
            assert "\n" not in str(caught.value)
    finally:
        for thread in threading.enumerate():  # which remove what builds have left
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        subprocess.run(["umount", full], check=True)


def test_a_cache_that_is_no_folder_is_one_clear_error_that_names_it(
    make_function: MakeFunction, root: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(index, "one")
    function = make_function(requirements="one\n")
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    with pytest.raises(
        WorkspaceError, match=r"the package cache /dev/null/.* cannot be used: Not a directory; .*XDG_CACHE_HOME"
    ):
        packaging.build(function, root=root)


def test_writing_a_file_leaves_the_umask_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the whole process's: another thread would make a file that everyone can write to."""

    def umask(_: int) -> int:
        raise AssertionError("the umask was set")

    monkeypatch.setattr(os, "umask", umask)
    cache.write_whole(tmp_path / "file", b"x")
    monkeypatch.undo()
    (tmp_path / "other").touch()
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_schemas_of_the_commands_that_it_runs_travel_along(
    make_function: MakeFunction, root: Path, index: Path
) -> None:
    described = {f"botocore/data/{service}/2014/service-2.json.gz": "x" for service in ("ssm", "sts")}
    for name, files in (("botocore", described), ("cryptography", None), ("paramiko", None)):
        make_wheel(index, name, "99.0", files)
    function = make_function(requirements="./dea/remote\n./dea/raijin\n", settings="commands: [quota]\n")
    built = packaging.build(function, root=root)
    with zipfile.ZipFile(built.path) as archive:
        travelling = json.loads(archive.read("dea_commands.json"))
    approved = json.loads((root / "raijin_scripts" / "quota" / "approved.json").read_text("utf-8"))
    assert travelling["commands"] == {"quota": {"arguments": approved["arguments"], "schema": approved["schema"]}}
    (root / "raijin_scripts" / "quota" / "run").write_text("#!/bin/sh\n", "utf-8")
    with pytest.raises(WorkspaceError, match="quota is not approved as it stands"):
        packaging.build(function, root=root)


def test_the_manifest_says_what_the_package_was_made_of(make_function: MakeFunction, root: Path, index: Path) -> None:
    make_wheel(index, "one", "1.5")
    found = manifest(built := packaging.build(make_function(requirements="one>=1\n"), root=root))
    compiler = interpreters.find(PYTHON)
    assert compiler is not None
    assert found["interpreter"] == f"CPython {compiler[1]}"
    assert str(found["compressor"]).startswith("libdeflate")
    assert (found["python"], found["architecture"], found["handler"]) == (PYTHON, "x86_64", "tidy.handler")
    assert found["requirements"] == ["one>=1"]
    parts = found["parts"]
    assert isinstance(parts, list)
    assert [(part["name"], part["version"]) for part in parts] == [("one", "1.5"), ("tidy", "")]
    assert str(root) not in json.dumps(found)
    assert built.python == PYTHON


def test_every_function_of_the_project_can_be_packaged(tmp_path: Path) -> None:
    for function in checkout.functions().values():
        assert packaging.build(function, output=tmp_path / f"{function.name}.zip").unzipped_bytes > 0
