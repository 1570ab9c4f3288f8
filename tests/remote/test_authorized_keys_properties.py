"""Whatever stands in the file: what is not ours is the same bytes before and after."""

import base64

from hypothesis import given
from hypothesis import strategies as st

from dea.remote.authorized_keys import authorized_keys_line, entry_of, forced_command
from dea.remote.authorized_keys_file import with_line, without_label
from dea.remote.contract import Refusal

# Pieces that mean something to whoever reads such a file, in every order, and any other bytes.
PIECES = (
    b"ssh-ed25519 ", b"ssh-rsa AAAA", b'command="', b'"', b'\\"', b"\\", b",", b" ", b"\t", b"\r\n", b"\n", b"#", b"restrict",
    b"/usr/bin/python3 -I -S /x/dea/remote/__main__.py --key other", b"\xff",
)  # fmt: skip
FOREIGN = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=30).map(b"".join)


def line(number, label="ours"):
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes([number]) * 32
    key = f"ssh-ed25519 {base64.b64encode(blob).decode()} x"
    return authorized_keys_line(key, forced_command("/usr/bin/python3", "/x", label))


@given(FOREIGN, FOREIGN)
def test_strangers_bytes_survive_around_our_lines(before, after):
    before = before if before.endswith(b"\n") or not before else before + b"\n"
    content = before + line(1).encode() + b"\n" + after
    replaced = with_line(content, line(2))
    assert replaced == before + line(2).encode() + b"\n" + after
    assert without_label(replaced, "ours") == before + after
    added = with_line(replaced, line(3, "new"))
    assert added == line(3, "new").encode() + b"\n" + replaced
    assert without_label(added, "new") == replaced


@given(st.text(max_size=40), st.text(max_size=40))
def test_what_is_written_is_read_again_whatever_the_paths(python, checkout):
    try:
        written = line_with(python, checkout)
    except ValueError:
        return  # control characters: refused
    entry = entry_of(written)
    assert entry is not None
    assert entry.options["command"] == forced_command(python, checkout, "ours")
    assert entry.label == "ours"
    try:
        assert with_line(b"", written) == written.encode() + b"\n"
    except Refusal as refusal:
        raise AssertionError(str(refusal)) from refusal


def line_with(python, checkout):
    return authorized_keys_line("ssh-ed25519 AAAA x", forced_command(python, checkout, "ours"))
