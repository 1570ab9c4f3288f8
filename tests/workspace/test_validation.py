"""Checking a package: what is right passes, each thing that is wrong is told, and what cannot be tried here is no pass."""

from __future__ import annotations

import importlib.util
import io
import json
import marshal
import os
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec, source_hash
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from dea.workspace import checkout, interpreters
from dea.workspace.errors import WorkspaceError
from dea.workspace.packaging import build
from dea.workspace.runtime import task_root
from dea.workspace.settings import RUNTIMES
from dea.workspace.validation import CHECKS, Check, native, opened, shapes
from tests.conftest import require
from tests.workspace.test_tasks import inv

HERE = f"3.{sys.version_info[1]}"
MACHINE = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
OTHER = {"arm64": "x86_64", "x86_64": "arm64"}[MACHINE]
HANDLER = "def handler(event, context):\n    return event\n"
MANIFEST: dict[str, Any] = {
    "format": 1,
    "function": "made",
    "handler": "made.handler",
    "python": HERE,
    "architecture": MACHINE,
    "requirements": [],
    "parts": [],
}


class Made:
    """A function, and its package made by hand."""

    def __init__(self, folder: Path) -> None:
        self.function = checkout.Function("made", folder / "made")
        self.function.folder.mkdir()
        self.path = folder / "made.zip"
        self.declare("")

    def declare(self, env_vars: str) -> None:
        (self.function.folder / "env_vars.yaml").write_text(env_vars)

    def checks(self, source: str = HANDLER, manifest: Any = MANIFEST, **files: str | bytes) -> dict[str, Check]:
        """Package a handler's module and other files, and return what each check comes to."""
        self.function.source.write_text(source)
        with zipfile.ZipFile(self.path, "w") as archive:
            archive.writestr("made.py", source)
            if manifest is not None:
                archive.writestr("dea_package.json", json.dumps(manifest))
            for name, content in files.items():
                archive.writestr(name, content)
        return self.opened()

    def opened(self) -> dict[str, Check]:
        with opened(self.function, self.path, {"GIVEN": "x"}) as package:
            made = [check(package) for check in CHECKS]
        assert not package.folder.exists()
        return {check.check: check for check in made}


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def failed(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if check.ok is False}


@pytest.fixture(scope="module", params=RUNTIMES)
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The example's own package for a version of Python that this machine has."""
    if request.param not in interpreters.installed():
        require(f"python{request.param} is not installed")
    path = tmp_path_factory.mktemp("example") / "example.zip"
    build(checkout.function("example"), output=path, python=request.param, architecture=MACHINE)
    yield path


def test_the_examples_package_passes_every_check(example: Path) -> None:
    """Real libraries, their own example keys and certificates included, raise no false alarm."""
    done = inv("validate", "--name", "example", "--zip", str(example), "--json")
    answer = json.loads(done.stdout)
    assert [(one["check"], one["ok"], one["detail"]) for one in answer if one["ok"] is not True] == []
    assert done.returncode == 0
    assert [one["check"] for one in answer] == [
        "archive",
        "manifest",
        "handler",
        "requirements",
        "libraries",
        "compiled",
        "sizes",
        "secrets",
        "variables",
    ]


def test_the_other_architecture_is_checked_as_far_as_it_can_be(tmp_path: Path) -> None:
    path = tmp_path / "example.zip"
    build(checkout.function("example"), output=path, architecture=OTHER)
    with opened(checkout.function("example"), path, {}) as package:
        checks = {check.check: check for check in (each(package) for each in CHECKS)}
    assert failed(checks) == set()
    assert checks["handler"].ok is checks["requirements"].ok is None
    assert f"it is made for {OTHER}, and this machine is {MACHINE}" in checks["handler"].detail
    assert checks["libraries"].ok
    assert checks["compiled"].ok


def test_a_small_package_passes(made: Made) -> None:
    checks = made.checks("import os\nprint('on stdout')\nassert os.environ['GIVEN'] == 'x'\n" + HANDLER)
    assert failed(checks) == {"variables"}  # GIVEN is not declared
    assert None not in {check.ok for check in checks.values()}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import pytest\n" + HANDLER, "importing made failed: ModuleNotFoundError: No module named 'pytest'"),
        ("import dea.workspace\n" + HANDLER, "ModuleNotFoundError"),
        ("def handler(:\n", f"line 1 of made.py is no Python {HERE}: invalid syntax"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("import os\nos._exit(7)\n", "the process ended with status 7"),
        ("other = 1\n", "made has no handler"),
        ("handler = 1\n", "made.handler is a int and cannot be called"),
        ("def handler(event): ...\n", "cannot be called with (event, context): too many positional arguments"),
        ("def handler(event, context, more): ...\n", "cannot be called with (event, context)"),
        ("async def handler(event, context): ...\n", "is async"),
        ("open(__file__ + '.log', 'w').close()\n" + HANDLER, "made.py.log"),
        ("import os\nassert 'HOME' not in os.environ, 'leaked'\nimport x_y\n" + HANDLER, "No module named 'x_y'"),
    ],
)
def test_a_handler_that_lambda_could_not_call_is_told(made: Made, source: str, said: str) -> None:
    check = made.checks(source)["handler"]
    assert check.ok is False
    assert said in check.detail


@pytest.mark.parametrize(
    "source",
    [
        "def handler(event, context=None): ...\n",
        "def handler(*args): ...\n",
        "class handler:\n    def __init__(self, event, context): ...\n",
    ],
)
def test_any_form_that_takes_both_is_a_handler(made: Made, source: str) -> None:
    assert made.checks(source)["handler"].ok


def test_a_handler_in_a_package_is_found(made: Made) -> None:
    manifest = {**MANIFEST, "handler": "part.inner.run"}
    files = {"part/__init__.py": "", "part/inner.py": "def run(event, context): ...\n"}
    assert made.checks(manifest=manifest, **files)["handler"].ok
    checks = made.checks(manifest={**manifest, "handler": "part.gone.run"}, **files)
    assert "there is no module part/gone.py" in checks["handler"].detail


def test_without_an_interpreter_of_its_version_nothing_is_claimed(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreters, "find", lambda python: None)
    checks = made.checks(**{f"__pycache__/made.cpython-{HERE.replace('.', '')}.pyc": b"x" * 20})
    untried = {name for name, check in checks.items() if check.ok is None}
    assert untried == {"handler", "requirements", "compiled"}
    assert all(f"this machine has no Python {HERE}" in checks[name].detail for name in untried)
    assert checks["handler"].remedy.startswith(f"uv python install {HERE}")


def part(name: str, version: str, *modules: str) -> dict[str, Any]:
    return {"name": name, "version": version, "modules": list(modules)}


def test_requirements_that_are_there_pass(made: Made) -> None:
    manifest = {
        **MANIFEST,
        "requirements": ["One_Two>=1", "pinned==2.0", "windows-only; sys_platform == 'win32'"],
        "parts": [part("one-two", "1.5", "onetwo"), part("pinned", "2.0", "pinned")],
    }
    assert made.checks(manifest=manifest, **{"onetwo/__init__.py": "", "pinned.py": ""})["requirements"].ok


@pytest.mark.parametrize(
    ("parts", "files", "said"),
    [
        ([], {}, "thing is missing"),
        ([part("thing", "0.9", "thing")], {"thing.py": ""}, "thing is 0.9, and thing>=1 is required"),
        ([part("thing", "1", "thing")], {}, "the module thing is missing"),
        ([part("thing", "1", "thing")], {"thing.py": "import gone"}, "importing thing failed: ModuleNotFoundError"),
    ],
)
def test_a_requirement_that_is_not_there_is_told(made: Made, parts: Any, files: Any, said: str) -> None:
    check = made.checks(manifest={**MANIFEST, "requirements": ["thing>=1"], "parts": parts}, **files)["requirements"]
    assert check.ok is False
    assert said in check.detail


def test_a_package_of_another_tool_or_function_is_told(made: Made) -> None:
    checks = made.checks(manifest=None)
    assert failed(checks) == {"manifest"}
    assert "not made by inv package" in checks["manifest"].detail
    assert checks["requirements"].ok is None
    assert "package of 'other'" in made.checks(manifest={**MANIFEST, "function": "other"})["manifest"].detail
    for wrong in ([], {**MANIFEST, "format": 2}, {**MANIFEST, "python": "../x"}, {**MANIFEST, "parts": [{}]}):
        assert "not as inv package writes it" in made.checks(manifest=wrong)["manifest"].detail


def library() -> bytes:
    """A native library for this machine, of those that are installed here."""
    spec = find_spec("_cffi_backend")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).read_bytes()


def far(content: bytes) -> bytes:
    """Return a library whose third section lies where no file reaches: ELF-64, `e_shoff` and `sh_offset`."""
    headers = int.from_bytes(content[40:48], "little")
    offset = headers + 2 * 64 + 24
    return content[:offset] + b"\xff" * 8 + content[offset + 8 :]


def endless(content: bytes) -> bytes:
    """Return a library that needs 2^32 versions, by its own words: `sh_info` of the section of type SHT_GNU_verneed."""
    headers, count = int.from_bytes(content[40:48], "little"), int.from_bytes(content[60:62], "little")
    for header in range(headers, headers + 64 * count, 64):
        if content[header + 4 : header + 8] == (0x6FFFFFFE).to_bytes(4, "little"):
            return content[: header + 44] + b"\xff" * 4 + content[header + 48 :]
    raise AssertionError("the library needs no versions")


def of_machine(content: bytes, number: int) -> bytes:
    return content[:18] + number.to_bytes(2, "little") + content[20:]


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("lib.so", lambda content: of_machine(content, 0xB7 if MACHINE == "x86_64" else 0x3E), "is built for"),
        ("lib.so", lambda content: re.sub(rb"GLIBC_2\.1\d\b", b"GLIBC_2.99", content), "needs glibc 2.99"),
        ("lib.so", lambda content: content.replace(b"libc.so.6", b"libc.musl"), "needs another C library, libc.musl"),
        ("lib.cpython-39-x86_64-linux-gnu.so", lambda content: content, "is built for Python 3.9"),
        ("lib.pyd", lambda content: b"MZ" + content, "is no library of Linux"),
        ("bin/tool", lambda content: of_machine(content, 0x28), "is built for ARM"),
        ("cut.so", lambda content: content[:40], "is no library of Linux"),
        ("far.so", far, "has headers that cannot be read"),
    ],
)
def test_a_library_that_the_runtime_cannot_load_is_told(made: Made, name: str, change: Any, said: str) -> None:
    check = made.checks(**{name: change(library())})["libraries"]
    assert check.ok is False
    assert f"{name} {said}" in check.detail


def test_a_damaged_library_takes_no_more_than_its_time_and_does_not_hide_the_others(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "_LIMIT_S", 0.5)
    files = {"a.so": library(), "b.so": endless(library()), "c.so": far(library()), "d.so": library()}
    check = made.checks(**files)["libraries"]
    assert check.ok is False
    first, second = check.detail.split(", ", 1)
    assert first == "b.so is damaged: its headers take longer than 0.5 s"
    assert second.startswith("c.so has headers that cannot be read")


def test_a_library_that_ends_its_reader_is_told(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = tmp_path / "reader.py"
    reader.write_text("import os\nos.kill(os.getpid(), 9)\n")
    monkeypatch.setattr(native, "_READER", reader)
    check = made.checks(**{"a.so": library()})["libraries"]
    assert (check.ok, check.detail) == (False, "a.so is damaged: its headers end who reads them (status -9)")


def test_a_library_for_this_runtime_passes(made: Made) -> None:
    check = made.checks(**{"_cffi_backend.abi3.so": library()})["libraries"]
    assert check.ok, check.detail
    assert check.detail.startswith("1 are for")


def pyc(source: str, flags: int = 1) -> bytes:
    code = marshal.dumps(compile(source, "made.py", "exec"))
    return importlib.util.MAGIC_NUMBER + flags.to_bytes(4, "little") + source_hash(source.encode()) + code


CACHED = f"__pycache__/made.cpython-{HERE.replace('.', '')}.pyc"


def test_modules_compiled_from_their_source_pass(made: Made) -> None:
    check = made.checks(**{CACHED: pyc(HANDLER)})["compiled"]
    assert (check.ok, check.detail) == (True, "1 of 1 modules, each from its source")
    assert "no module is compiled" in made.checks()["compiled"].detail


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (CACHED, pyc(HANDLER + "# changed\n"), "was compiled from another source"),
        (CACHED, pyc(HANDLER, 0), "is compared with its source at each start"),
        (CACHED, pyc(HANDLER, 3), "is compared with its source at each start"),
        (CACHED, b"\x6f\x0d\x0d\x0a" + pyc(HANDLER)[4:], "is for another Python"),
        (CACHED, b"", "is for another Python"),
        ("__pycache__/made.cpython-39.pyc", pyc(HANDLER), "is for another Python"),
        (CACHED.replace("made", "gone"), pyc(HANDLER), "has no source beside it"),
        ("gone.pyc", pyc(HANDLER), "has no source beside it"),
    ],
)
def test_a_compiled_module_that_would_not_serve_is_told(made: Made, name: str, content: bytes, said: str) -> None:
    check = made.checks(**{name: content})["compiled"]
    assert check.ok is False
    assert f"{name} {said}" in check.detail


def private_key(kind: str = "ssh-ed25519", form: str = "openssh") -> str:
    return asyncssh.generate_private_key(kind).export_private_key(form).decode()


# Made here and put together here, so that no file of this repository has their shape.
ACCESS_KEY = "AKIA" + "Q3EGR7XZ5W2LMN4P"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("keys/login", private_key()),
        ("config.py", f"KEY = {private_key()!r}\n"),
        ("config.json", json.dumps({"key": private_key("ecdsa-sha2-nistp256", "pkcs8-pem")})),
        ("rsa.txt", private_key("ssh-rsa", "pkcs1-pem").replace("\n", "\r\n")),
        ("lines.py", "KEY = (\n" + "".join(f"    {line!r}\n" for line in private_key().splitlines()) + ")\n"),
        (
            "locked.txt",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n" + "A" * 64 + "\n",
        ),
        ("settings.ini", f"[default]\naws_access_key_id = {ACCESS_KEY}\n"),
        ("settings.py", "AWS_SECRET_ACCESS_KEY = '" + "aB3/" * 10 + "'\n"),
        ("notes.txt", "token gh" + "p_" + "a1B2" * 9),
        ("notes.txt", "xox" + "b-123456789012-abcdefghijkl"),
        (".env", "PLAIN=1"),
        ("conf/.env.production", "PLAIN=1"),
        (".netrc", ""),
        ("id_ed25519", ""),
        ("home/.aws/credentials", ""),
        ("server.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"),
        ("store.p12", ""),
    ],
)
def test_what_has_a_secrets_shape_is_told_and_never_repeated(made: Made, name: str, content: str) -> None:
    check = made.checks(**{name: content})["secrets"]
    assert check.ok is False
    assert name in check.detail
    assert not [word for word in re.findall(r"[A-Za-z0-9+/]{16,}", content) if word in check.detail]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ssh.py", 'BEGIN = b"-----BEGIN OPENSSH PRIVATE KEY-----"\nEND = b"-----END OPENSSH PRIVATE KEY-----"\n'),
        ("docs.json", '{"key": "-----BEGIN DSA PRIVATE KEY-----<a very long string>-----END DSA PRIVATE KEY-----"}'),
        (
            "docs.rst",
            "aws_access_key_id = 'AKIAIOSFODNN7"
            + "EXAMPLE'\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCY"
            + "EXAMPLEKEY",
        ),
        ("cacert.pem", "-----BEGIN CERTIFICATE-----\n" + "A" * 64 + "\n-----END CERTIFICATE-----\n"),
        ("environment.py", "import os\naws_secret_access_key = os.environ['AWS_SECRET_ACCESS_KEY']\n"),
        ("keys.py", ""),
    ],
)
def test_what_only_speaks_of_secrets_is_none(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert shapes.found(tmp_path, [name]) == []


READS = "import os\nTOKEN = os.environ.get('TOKEN')\n" + HANDLER


def test_variables_are_compared_with_what_is_declared(made: Made) -> None:
    check = made.checks(READS)["variables"]
    assert (check.ok, check.detail) == (False, "read and not declared: TOKEN (made.py:2)")
    made.declare("TOKEN: x\nUNUSED: 1\n")
    check = made.checks(READS)["variables"]
    assert (check.ok, check.detail) == (True, "declared and not read by the function itself: UNUSED")
    made.declare("variables: [{name: TOKEN}]\n")
    assert made.checks(READS)["variables"].ok
    made.declare("x: [")
    assert "is not valid YAML" in made.checks(READS)["variables"].detail


def test_a_variable_whose_name_is_computed_is_said_not_to_be_checked(made: Made) -> None:
    computed = "import os\nNAME = 'TOKEN'\nVALUES = os.environ.get(NAME), os.environ.get(NAME + '_X')\n" + HANDLER
    assert made.checks(computed)["variables"].detail == "read and not declared: TOKEN (made.py:3)"
    made.declare("TOKEN: x\n")
    check = made.checks(computed)["variables"]
    assert check.ok
    assert check.detail == (
        "what is read by a name that is written out is declared; "
        "not checked, because the name is not written out: made.py:3"
    )
    made.declare("TOKEN: x\nUNUSED: x\n")
    said = "declared and not read by the function itself: UNUSED; not checked, because the name is not written out: made.py:3"
    assert made.checks(computed)["variables"].detail == said


def test_what_lambda_sets_and_what_dea_reads_need_no_word(made: Made) -> None:
    source = "import os\nos.environ['AWS_REGION'], os.environ['_HANDLER']\n" + HANDLER
    made.declare("DEA_RAIJIN_USER_PATH: x\n")
    check = made.checks(source, **{"dea/raijin/credentials.py": "VARIABLE = 'DEA_RAIJIN_USER_PATH'\n"})["variables"]
    assert (check.ok, check.detail) == (True, "what is declared is read, and what is read is declared")


def test_a_parameter_that_nobody_resolves_is_told(made: Made) -> None:
    made.declare("TOKEN: {ssm: dea.token}\n")
    check = made.checks(READS)["variables"]
    assert check.ok is False
    assert "would read the text ssm://NAME" in check.detail
    resolving = "from dea.lambdas.environment import resolve_ssm_variables\nresolve_ssm_variables()\n" + READS
    files = {"dea/lambdas/environment.py": "def resolve_ssm_variables(): ...\n"}
    checks = made.checks(resolving, **files)
    assert checks["variables"].ok
    assert checks["handler"].ok  # and importing it asks no SSM


@pytest.mark.parametrize("name", ["/absolute.py", "../outside.py", "a/../../outside.py"])
def test_a_file_that_leads_out_of_the_package_is_told_and_not_unpacked(made: Made, name: str) -> None:
    check = made.checks(**{name: "x"})["archive"]
    assert check.ok is False
    assert "leads out of the package" in check.detail
    assert not list(made.path.parent.glob("**/outside.py"))


def test_a_damaged_or_strange_zip_is_told(made: Made) -> None:
    made.checks(**{"data.txt": "some words that are easily found"})
    damaged = made.path.read_bytes().replace(b"easily", b"hardly", 1)
    made.path.write_bytes(damaged)
    assert "'data.txt' cannot be unpacked: Bad CRC-32" in made.opened()["archive"].detail
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(made.path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "'link' is a symbolic link" in made.opened()["archive"].detail
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(made.path, "w") as archive:
        archive.writestr("made.py", HANDLER)
        archive.writestr("made.py", HANDLER)
    assert "'made.py' is in it twice" in made.opened()["archive"].detail
    made.path.write_bytes(b"no zip")
    with pytest.raises(WorkspaceError, match=r"made\.zip cannot be unpacked: File is not a zip file"):
        made.opened()


def spoiled(content: bytes, member: str, how: str) -> bytes:
    """Return a zip in which one member's compressed bytes are garbled, or its header says what cannot be unpacked."""
    changed = bytearray(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        info = archive.getinfo(member)
    local = info.header_offset
    central = content.rindex(b"PK\1\2", 0, content.rindex(member.encode()))
    if how == "garbled":
        begin = local + 30 + len(member)
        changed[begin : begin + info.compress_size] = b"\xff" * info.compress_size
    elif how == "encrypted":
        changed[local + 6] |= 1
        changed[central + 8] |= 1
    else:
        changed[local + 8] = changed[central + 10] = 99
    return bytes(changed)


SPOILED = [
    ("garbled", "while decompressing data"),
    ("encrypted", "is encrypted, password required"),
    ("unknown", "compression method is not supported"),
]


@pytest.mark.parametrize(("how", "said"), SPOILED)
def test_a_member_that_cannot_be_unpacked_is_a_fault_of_the_archive(made: Made, how: str, said: str) -> None:
    made.checks()
    with zipfile.ZipFile(made.path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.txt", "words " * 100)
    made.path.write_bytes(spoiled(made.path.read_bytes(), "data.txt", how))
    checks = made.opened()
    assert failed(checks) == {"archive"}
    assert "data.txt' cannot be unpacked: " in checks["archive"].detail
    assert said in checks["archive"].detail


def test_a_full_disk_is_no_fault_of_the_archive(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require(None if os.getuid() == 0 else "mounting a small file system (run as root)")
    made.checks()
    with zipfile.ZipFile(made.path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.txt", bytes(1_000_000))
    (full := tmp_path / "full").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", full], check=True)
    try:
        monkeypatch.setattr(tempfile, "tempdir", str(full))
        with pytest.raises(WorkspaceError, match=r"made\.zip cannot be unpacked: .*No space left on device"):
            made.opened()
    finally:
        subprocess.run(["umount", full], check=True)


@pytest.mark.parametrize("member", ["data.txt", "dea_package.json"])
@pytest.mark.parametrize(("how", "said"), SPOILED)
def test_a_package_that_cannot_be_unpacked_is_not_run(made: Made, member: str, how: str, said: str) -> None:
    made.checks()
    with zipfile.ZipFile(made.path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dea_package.json", json.dumps(MANIFEST))
        archive.writestr("data.txt", "words " * 100)
    made.path.write_bytes(spoiled(made.path.read_bytes(), member, how))
    with (
        pytest.raises(WorkspaceError, match=f"(cannot be unpacked|is no package that inv package made): .*{said}"),
        task_root.unpacked(made.path),
    ):
        pass


def test_sizes_are_held_against_lambdas_limits(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    from dea.workspace.validation import checks

    monkeypatch.setattr(checks, "MAX_UPLOAD_BYTES", 100)
    check = made.checks()["sizes"]
    assert check.ok
    assert "Lambda takes it only through S3" in check.detail
    monkeypatch.setattr(checks, "MAX_UNZIPPED_BYTES", 100)
    check = made.checks()["sizes"]
    assert check.ok is False
    assert "inv package --explain" in check.remedy


def test_the_task_says_a_line_for_each_check_and_fails_if_one_does(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("example.py", HANDLER)
    done = inv("validate", "--name", "example", "--zip", str(path))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert len(lines) == len(CHECKS)
    assert lines[0].split()[:2] == ["ok", "archive"]
    assert lines[1].split()[:2] == ["failed", "manifest"]
    assert "make it again with inv package --name example" in lines[1]


def test_what_could_not_be_tried_is_no_pass(tmp_path: Path) -> None:
    other = "x86_64" if platform.machine() == "aarch64" else "arm64"
    path = tmp_path / "other.zip"
    build(checkout.function("example"), architecture=other, output=path)
    done = inv("validate", "--name", "example", "--zip", str(path), "--json")
    assert done.returncode == 2
    found = {check["check"]: check["ok"] for check in json.loads(done.stdout)}
    assert found["handler"] is None
    assert found["libraries"] is True


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--name", "nope"), "choose one of"),
        (
            ("--name", "example", "--zip", "no/such.zip"),
            "no/such.zip is missing: make it with inv package --name example",
        ),
        (("--name", "example", "--zip", "README.md"), "README.md cannot be unpacked: File is not a zip file"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    done = inv("validate", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr.strip().splitlines()[-1]


def test_the_probe_needs_nothing_but_the_standard_library() -> None:
    """It runs on the package's version of Python, with no other path."""
    from dea.workspace.validation import package

    for python in interpreters.at_least("3.11").values():
        command = [python, "-I", "-S", "-c", package._PROBE.read_text("utf-8")]
        done = subprocess.run(command, input="{}", capture_output=True, text=True, check=False)
        assert done.stderr.strip().endswith("KeyError: 'folder'")
