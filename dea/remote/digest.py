"""SHA-256 without `hashlib`, whose import would be paid at every request, unlike that of the module behind it."""

try:
    from _sha2 import sha256  # since Python 3.12
except ImportError:
    try:
        from _sha256 import sha256  # to Python 3.11
    except ImportError:  # a Python that was built without hashes of its own
        from hashlib import sha256

__all__ = ["sha256"]
