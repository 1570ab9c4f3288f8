"""The line that ties a key to the dispatcher."""

import pytest

from dea.remote.authorized_keys import authorized_keys_line, forced_command
from dea.remote.contract import split


def test_the_forced_command_names_everything_by_its_absolute_path():
    command = forced_command("/usr/bin/python3", "/g/data/with space/x", "lambda", {"--home": "/home/a b"})
    assert split(command)[0] == [
        "/usr/bin/python3",
        "-I",
        "-S",
        "/g/data/with space/x/dea/remote/__main__.py",
        "--key",
        "lambda",
        "--home",
        "/home/a b",
    ]


def test_the_line_restricts_the_key_and_escapes_quotes():
    line = authorized_keys_line("ssh-ed25519 AAAA dea\n", 'x "y"')
    assert line == 'restrict,command="x \\"y\\"" ssh-ed25519 AAAA dea'


@pytest.mark.parametrize(("key", "command"), [("ssh-ed25519 AAAA\nssh-rsa BBBB", "x"), ("ssh-ed25519 AAAA", "x\ny")])
def test_a_second_line_cannot_be_smuggled_in(key, command):
    with pytest.raises(ValueError, match="one line"):
        authorized_keys_line(key, command)
