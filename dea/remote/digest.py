"""SHA-256 at the least cost: `hashlib` takes four milliseconds to import, the module behind it under one."""

try:
    from _sha2 import sha256  # since Python 3.12
except ImportError:
    try:
        from _sha256 import sha256  # to Python 3.11
    except ImportError:  # a Python that was built without hashes of its own
        from hashlib import sha256

__all__ = ["sha256"]
