"""The lines of `authorized_keys` that tie keys to the dispatcher, made and read (sshd(8), AUTHORIZED_KEYS FILE FORMAT).

It works on text alone; the file itself is edited by `dea.remote.authorized_keys_file`.
"""

import base64
import binascii
import hashlib

from dea.remote.contract.words import QuotingError, controls_in, join, split

ED25519 = "ssh-ed25519"

MAIN = "/dea/remote/__main__.py"
"""What a forced command starts, within its checkout."""

_ED25519_HEAD = b"\0\0\0\x0bssh-ed25519\0\0\0\x20"  # RFC 8709: the type's name, and 32 bytes of key
_KEY_TYPES = ("ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-")
_BLANKS = " \t"


class PublicKey:
    """A public key.

    Attributes:
        kind: Its type, `ssh-ed25519` say.
        data: The key in base64.
        comment: What stands after it.
    """

    __slots__ = ("comment", "data", "kind")

    def __init__(self, kind: str, data: str, comment: str = "") -> None:
        self.kind = kind
        self.data = data
        self.comment = comment

    def __str__(self) -> str:
        return " ".join(word for word in (self.kind, self.data, self.comment) if word)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 fingerprint, as ssh-keygen(1) prints it."""
        try:
            digest = hashlib.sha256(base64.b64decode(self.data)).digest()
        except (binascii.Error, ValueError):
            return "(no key)"
        return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


class Entry:
    """A line of `authorized_keys` that has a key, as sshd reads it.

    Attributes:
        key: The key.
        options: What its options say, by their names in lower case; empty for one without a value.
        label: The key label of its forced command, or None if that is not the dispatcher: then the line is a stranger's.
    """

    __slots__ = ("key", "label", "options")

    def __init__(self, key: PublicKey, options: "dict[str, str]") -> None:
        self.key = key
        self.options = options
        self.label = _label_of(options.get("command", ""))

    def starts(self, checkout: str) -> bool:
        """Tell whether the forced command starts the dispatcher of a checkout."""
        return self.label is not None and split(self.options["command"])[0][3] == checkout + MAIN


def forced_command(
    python: str, checkout: str, label: str, options: "dict[str, str] | None" = None, allow: "tuple[str, ...]" = ()
) -> str:
    """Return the command line that sshd runs for a key, whatever its client asks for.

    Args:
        python: The absolute path of the login node's interpreter.
        checkout: The absolute path of the checkout.
        label: The key's label, which the audit log names.
        options: More options of the dispatcher's gate mode, by name (`{"--state": "/g/data/..."}`).
        allow: Patterns of the commands that the key may run; none for all.

    >>> forced_command("/usr/bin/python3", "/home/dea/checkout", "lambda")
    '/usr/bin/python3 -I -S /home/dea/checkout/dea/remote/__main__.py --key lambda'
    """
    words = [python, "-I", "-S", f"{checkout}{MAIN}", "--key", label]
    for option, value in (options or {}).items():
        words += [option, value]
    return join([*words, *(["--allow", *allow] if allow else [])])


def authorized_keys_line(public_key: str, command: str, *, addresses: str = "", expires: str = "") -> str:
    r"""Return one line: the restrictions, the forced command, the key.

    Args:
        public_key: The key as in a `.pub` file: type, base64, comment.
        command: The forced command, as `forced_command` makes it.
        addresses: From where the key may be used (`from=`): addresses, networks or names, with commas; empty for everywhere.
        expires: When it ends, as `YYYYMMDD` in the login node's time; empty for never.

    Raises:
        ValueError: If the key is not one line.

    >>> authorized_keys_line("ssh-ed25519 AAAA dea", 'python3 "x"')
    'restrict,command="python3 \\"x\\"" ssh-ed25519 AAAA dea'
    >>> authorized_keys_line("ssh-ed25519 AAAA", "x", addresses="192.0.2.0/24", expires="20301231")
    'restrict,from="192.0.2.0/24",expiry-time="20301231",command="x" ssh-ed25519 AAAA'
    """
    public_key = public_key.strip()
    options = {"from": addresses, "expiry-time": expires, "command": command}
    if controls_in(public_key) or any(controls_in(value) for value in options.values()):
        raise ValueError("a public key and a forced command are one line each")
    # sshd undoes \" inside the quotes and nothing else: a backslash stands for itself.
    quoted = ['{}="{}"'.format(name, value.replace('"', '\\"')) for name, value in options.items() if value]
    return f"{','.join(['restrict', *quoted])} {public_key}"


def ed25519_key(text: str) -> PublicKey:
    """Read an Ed25519 public key as in a `.pub` file; one that is anything else would be a line that sshd ignores, or worse.

    Raises:
        ValueError: If it is none.
    """
    text = text.strip()
    if "PRIVATE KEY" in text:
        raise ValueError("it is a private key: give the public half, the file that ends in .pub")
    kind, data, comment = _fields(text)
    if kind != ED25519 or controls_in(text):
        raise ValueError("it is no Ed25519 public key in one line: make one with ssh-keygen -t ed25519")
    try:
        blob = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        blob = b""
    if len(blob) != len(_ED25519_HEAD) + 32 or not blob.startswith(_ED25519_HEAD):
        raise ValueError("it is no whole Ed25519 public key: was a part of the line lost?")
    return PublicKey(kind, data, comment)


def entry_of(line: str) -> "Entry | None":
    r"""Read one line as sshd does; None for an empty line, a comment, and what has no key.

    >>> entry_of('restrict,command="/p -I -S /c/dea/remote/__main__.py --key a" ssh-ed25519 AAAA x').label
    'a'
    """
    parsed = parse(line)
    if parsed is None:
        return None
    options: "dict[str, str]" = {}
    for name, value in parsed[0]:
        options.setdefault(name, value)  # sshd refuses a line with one given twice, whatever the second says
    return Entry(parsed[1], options)


def parse(line: str) -> "tuple[tuple[tuple[str, str], ...], PublicKey] | None":
    r"""Return the options of a line in order, each name in lower case with its value, and its key; None if it holds none.

    >>> options, key = parse('from="*.example.org,!a b",command="say \\"hi\\", x" ssh-rsa AAAA x')
    >>> options, str(key)
    ((('from', '*.example.org,!a b'), ('command', 'say "hi", x')), 'ssh-rsa AAAA x')
    >>> parse("# ssh-ed25519 AAAA"), parse("restrict")
    (None, None)
    """
    text = line.strip(_BLANKS + "\r\n")
    if not text or text.startswith("#"):
        return None
    options: "tuple[tuple[str, str], ...]" = ()
    if not text.startswith(_KEY_TYPES):
        end = _end_of_options(text)
        options, text = _options_of(text[:end]), text[end:]
    kind, data, comment = _fields(text)
    return (options, PublicKey(kind, data, comment)) if data and kind.startswith(_KEY_TYPES) else None


def _fields(text: str) -> "tuple[str, str, str]":
    """Split a key into type, base64 and comment; at blanks alone, as sshd does, and not at whatever else is white space."""
    kind, _, rest = text.replace("\t", " ").strip(" ").partition(" ")
    data, _, comment = rest.lstrip(" ").partition(" ")
    return kind, data, comment


def _end_of_options(text: str) -> int:
    """Return where the options end: at the first blank outside quotes (OpenSSH, `sshkey_advance_past_options`)."""
    quoted = False
    for position, char in enumerate(text):
        if char in _BLANKS and not quoted:
            return position
        quoted ^= _is_quote(text, position)
    return len(text)


def _options_of(text: str) -> "tuple[tuple[str, str], ...]":
    found = []
    quoted = False
    begin = 0
    for position in range(len(text) + 1):
        if position == len(text) or (text[position] == "," and not quoted):
            found.append(_option(text[begin:position]))
            begin = position + 1
        elif _is_quote(text, position):
            quoted = not quoted
    return tuple(found)


def _option(text: str) -> "tuple[str, str]":
    name, _, value = text.partition("=")
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    # \" is undone inside the quotes, and nothing else is.
    return name.lower(), value.replace('\\"', '"')


def _is_quote(text: str, position: int) -> bool:
    return text[position] == '"' and text[position - 1 : position] != "\\"


def _label_of(command: str) -> "str | None":
    """Return the key label that a forced command gives, or None if it is not one of the dispatcher."""
    try:
        words, operators = split(command)
    except QuotingError:
        return None
    if operators or len(words) < 6 or words[1:3] != ["-I", "-S"] or words[4] != "--key":
        return None
    return words[5] if words[3].endswith(MAIN) else None
