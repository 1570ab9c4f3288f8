"""What a line of authorized_keys may be, if its key is to start the dispatcher and nothing else."""

import pytest

from dea.remote.authorized_keys import authorized_keys_line, forced_command, parse
from dea.remote.doctor.key_lines import KeyLine, read

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFirst"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOther"


@pytest.mark.parametrize(
    "options",
    [
        "restrict",
        "RESTRICT",
        'restrict,from="203.0.113.0/24,*.example.org"',
        'restrict,expiry-time="29991231"',
        'restrict,expiry-time="299912312359Z"',
    ],
)
def test_a_line_that_is_right(login_node, options):
    login_node.write_keys("# a comment", "", login_node.line(options=options), f"{OTHER} somebody else")
    check = login_node.check("forced_commands")
    assert check["ok"], check


def test_flags_may_stand_together(login_node):
    login_node.write_keys(login_node.line(login_node.command(flags="-IS")))
    assert login_node.check("forced_commands")["ok"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "it lacks restrict"),
        ("no-pty,no-port-forwarding", "it lacks restrict"),
        ("restrict,pty", "pty gives back what restrict takes"),
        ("restrict,Port-Forwarding", "port-forwarding gives back"),
        ("restrict,agent-forwarding", "agent-forwarding gives back"),
        ("restrict,X11-forwarding", "x11-forwarding gives back"),
        ("restrict,user-rc", "user-rc gives back"),
        ('restrict,environment="LD_PRELOAD=/tmp/x.so"', "environment= sets variables"),
        ("restrict,cert-authority", "cert-authority lets in"),
        ('restrict,expiry-time="20200101"', "it expired at 20200101"),
        ('restrict,expiry-time="202001010000Z"', "it expired at 202001010000Z"),
        ('restrict,expiry-time="tomorrow"', "is no time"),
    ],
)
def test_options_that_are_not(login_node, options, said):
    login_node.write_keys(login_node.line(options=options))
    check = login_node.check("forced_commands")
    assert check["ok"] is False
    assert said in check["detail"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"python": "python3"}, "its interpreter is no absolute path"),
        ({"flags": ""}, "lacks -I"),
        ({"flags": "-I"}, "lacks -S"),
        ({"program": ""}, "it names the folder dea/remote"),
        ({"options": ["--only"]}, "no value for --only"),
        ({"options": ["--frobnicate", "x"]}, "unknown or repeated option"),
        ({"options": ["--only", "../x"]}, "no name of a command"),
        ({"options": ["--fault", "start-linked"]}, "which is for tests"),
        ({"options": ["; id"]}, "holds what a shell would read"),
        ({"options": ["$(id)"]}, "holds what a shell would read"),
        ({"options": ["'"]}, "holds what a shell would read"),
    ],
)
def test_commands_that_are_not(login_node, changes, said):
    options = changes.pop("options", [])
    login_node.write_keys(login_node.line(login_node.command(*options, **changes)))
    check = login_node.check("forced_commands")
    assert check["ok"] is False, check
    assert said in check["detail"]


@pytest.mark.parametrize("rest", ["", " greet", " greet --key test"])
def test_a_command_without_a_label_is_no_gate(login_node, rest):
    command = login_node.command().partition(" --key")[0] + rest
    login_node.write_keys(login_node.line(command))
    check = login_node.check("forced_commands")
    assert check["ok"] is False
    assert "behind the dispatcher comes none of its options" in check["detail"]


def test_a_fault_does_not_strike_the_doctor(login_node):
    from dea.remote import fault

    before = fault.step
    login_node.write_keys(login_node.line(login_node.command("--fault", "start-linked")))
    login_node.check("forced_commands")
    assert fault.step is before


def test_the_same_key_on_a_line_of_its_own_is_no_restriction(login_node):
    login_node.write_keys(f"{KEY} back door", login_node.line())
    assert "the same key is in authorized_keys line 1 too" in login_node.check("forced_commands")["detail"]
    login_node.write_keys(login_node.line())
    (login_node.ssh / "authorized_keys2").write_text(f"{KEY} back door\n")
    assert "the same key is in authorized_keys2 line 1 too" in login_node.check("forced_commands")["detail"]


def test_lines_that_name_several_state_folders(login_node):
    login_node.write_keys(login_node.line(), login_node.line(login_node.command("--state", "/g/data/x"), key=OTHER))
    assert "they name several state folders" in login_node.check("forced_commands")["detail"]


def test_the_state_folder_that_they_name_is_looked_at(login_node, tmp_path):
    login_node.write_keys(login_node.line(login_node.command("--state", str(tmp_path / "elsewhere"))))
    assert "elsewhere is not there yet" in login_node.check("state_folder")["detail"]


def test_lines_that_lead_elsewhere_are_told(login_node):
    login_node.write_keys(
        login_node.line(login_node.command(checkout="/another/checkout")), f'command="/bin/date" {OTHER}'
    )
    check = login_node.check("forced_commands")
    assert check["ok"] is False
    assert "no key leads to this checkout; other lines lead to /another/checkout" in check["detail"]


def test_what_keys_may_do_is_told(login_node):
    login_node.write_keys(
        login_node.line(),
        login_node.line(login_node.command("--only", "git_pull"), options='restrict,from="10.0.0.1"', key=OTHER),
    )
    assert login_node.check("forced_commands")["detail"] == (
        "2 restricted: test (all but git_pull), test (only git_pull, from 10.0.0.1)"
    )


def test_lines_are_read_as_sshd_reads_them(tmp_path):
    command = forced_command("/usr/bin/python3", '/home/dea/it\'s "here"', "lambda", {"--allow": "a b"})
    file = tmp_path / "authorized_keys"
    file.write_bytes(
        b"\r\n# comment\r\n  \t\nno key at all\n"
        + authorized_keys_line(f'{KEY} me, "myself"', command).encode()
        + b'\r\nfrom="a,b" ,environment="X=\xff" ssh-rsa AAAA\n'
        + b'no-pty,command="a, b \\"c\\" \\ d"   ecdsa-sha2-nistp256 AAAB x'
    )
    first, last = read(str(file))
    assert (first.number, first.key, first.value("command")) == (5, KEY, command)
    assert first.words is not None and first.words[0] == "/usr/bin/python3"
    assert first.checkout == '/home/dea/it\'s "here"'
    assert (last.number, last.names, last.value("command")) == (7, ["no-pty", "command"], 'a, b "c" \\ d')


@pytest.mark.parametrize(
    "line", ['command="never closed ssh-ed25519 AAAA', "ssh-ed25519", "restrict", '"', "=", ",", "\\"]
)
def test_what_sshd_passes_over_is_no_line(line):
    assert parse(line) is None


def test_a_command_that_starts_nothing_of_ours():
    line = KeyLine("x", 1, (("command", "/bin/date"),), KEY)
    assert (line.checkout, line.program_at) == (None, -1)
