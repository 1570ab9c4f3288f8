"""Writes the line of `authorized_keys` that ties a key to the dispatcher (sshd(8), AUTHORIZED_KEYS FILE FORMAT)."""

from dea.remote.contract.words import controls_in, join


def forced_command(python: str, checkout: str, label: str, options: "dict[str, str] | None" = None) -> str:
    """Return the command line that sshd runs for a key, whatever its client asks for.

    Args:
        python: The absolute path of the login node's interpreter.
        checkout: The absolute path of the checkout.
        label: The key's label, which the audit log names.
        options: More options of the dispatcher's gate mode, by name (`{"--state": "/g/data/..."}`).

    >>> forced_command("/usr/bin/python3", "/home/dea/checkout", "lambda")
    '/usr/bin/python3 -I -S /home/dea/checkout/dea/remote/__main__.py --key lambda'
    """
    words = [python, "-I", "-S", f"{checkout}/dea/remote/__main__.py", "--key", label]
    for option, value in (options or {}).items():
        words += [option, value]
    return join(words)


def authorized_keys_line(public_key: str, command: str) -> str:
    r"""Return one line: the restrictions, the forced command, the key.

    Args:
        public_key: The key as in a `.pub` file: type, base64, comment.
        command: The forced command, as `forced_command` makes it.

    Raises:
        ValueError: If the key is not one line.

    >>> authorized_keys_line("ssh-ed25519 AAAA dea", 'python3 "x"')
    'restrict,command="python3 \\"x\\"" ssh-ed25519 AAAA dea'
    """
    public_key = public_key.strip()
    if controls_in(public_key) or controls_in(command):
        raise ValueError("a public key and a forced command are one line each")
    # sshd undoes \" inside the quotes and nothing else: a backslash stands for itself.
    quoted = command.replace('"', '\\"')
    return f'restrict,command="{quoted}" {public_key}'
