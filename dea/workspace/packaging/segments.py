"""Segments: files in the form in which a zip holds them, compressed once and joined as often as needed.

The format is that of APPNOTE.TXT (PKWARE), sections 4.3.7 and 4.3.12. Dates are fixed, modes are one of two, names are sorted,
and the compressor is libdeflate at one level, so that the same files make the same bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import deflate

from dea.workspace.errors import WorkspaceError
from dea.workspace.packaging.cache import Buffer

LEVEL = (
    6  # as small as zlib's best and faster than its fastest; the next step that is smaller takes eight times as long
)
COMPRESSOR = f"libdeflate of deflate {deflate.__version__}, level {LEVEL}"

_DATE = 0x0021  # 1980-01-01, the earliest that a zip can say
_VERSION = 20
_UNIX = 3
_UTF8_NAMES = 0x800
_STORED, _DEFLATED = 0, 8
_PLAIN, _EXECUTABLE, _FOLDER = 0o100644, 0o100755, 0o040755
_IS_FOLDER = 0x10
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_MAX_ENTRIES = 0xFFFF
_MAX_BYTES = 0xFFFFFFFF
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Entry:
    """One file of a segment.

    Attributes:
        name: Its path in the package; a folder's ends in `/`.
        mode: Its Unix mode.
        method: 0 for stored, 8 for deflated.
        crc: Its CRC-32.
        compressed: Its size in the zip, in bytes.
        size: Its size unpacked, in bytes.
        offset: Where its local header begins in the segment.
    """

    name: str
    mode: int
    method: int
    crc: int
    compressed: int
    size: int
    offset: int


@dataclass(frozen=True)
class Segment:
    """A run of a zip's local entries.

    Attributes:
        entries: What is in it.
        data: The bytes.
    """

    entries: tuple[Entry, ...]
    data: Buffer

    @property
    def size(self) -> int:
        """The size of its files unpacked, in bytes."""
        return sum(entry.size for entry in self.entries)

    def encode(self) -> bytes:
        """Return the segment as one text of bytes, for the cache."""
        index = json.dumps([list(vars(entry).values()) for entry in self.entries]).encode()
        return b"".join([_LENGTH.pack(len(index)), index, self.data])

    @classmethod
    def decode(cls, content: Buffer) -> Segment:
        """Return the segment that `encode` made this of; its data stay where they are."""
        begin = _LENGTH.size
        end = begin + _LENGTH.unpack_from(content)[0]
        index = json.loads(bytes(content[begin:end]))
        return cls(tuple(Entry(*values) for values in index), memoryview(content)[end:])


def make(files: Iterable[tuple[str, bytes, bool]]) -> Segment:
    """Compress files into a segment.

    Args:
        files: Each file's name, content, and whether it is executable, in any order.
    """
    ordered = sorted(files)
    with ThreadPoolExecutor() as threads:
        packed = list(threads.map(_packed, (content for _, content, _ in ordered)))
    entries: list[Entry] = []
    pieces: list[bytes] = []
    offset = 0
    for (name, content, executable), (method, data) in zip(ordered, packed, strict=True):
        mode = _FOLDER if name.endswith("/") else _EXECUTABLE if executable else _PLAIN
        entry = Entry(name, mode, method, deflate.crc32(content), len(data), len(content), offset)
        header = _local_header(entry)
        entries.append(entry)
        pieces += [header, data]
        offset += len(header) + len(data)
    return Segment(tuple(entries), b"".join(pieces))


def join(segments: Sequence[Segment]) -> list[Buffer]:
    """Return the zip that holds all files of some segments, in pieces; its directory is sorted by name.

    Raises:
        WorkspaceError: If there are more files, or more bytes, than a plain zip can hold.
    """
    placed: list[tuple[bytes, Entry, int]] = []
    offset = 0
    for segment in segments:
        placed += [(_encoded(entry.name), entry, offset + entry.offset) for entry in segment.entries]
        offset += len(segment.data)
    if len(placed) > _MAX_ENTRIES or offset > _MAX_BYTES:
        raise WorkspaceError(
            f"the package has {len(placed)} files and {offset} bytes: a zip that Lambda takes holds 65,535 and 4 GiB"
        )
    directory = b"".join(
        _central_header(name, entry, at) + name for name, entry, at in sorted(placed, key=lambda one: one[0])
    )
    end = _END.pack(b"PK\5\6", 0, 0, len(placed), len(placed), len(directory), offset, 0)
    return [*(segment.data for segment in segments), directory, end]


def _packed(content: bytes) -> tuple[int, bytes]:
    packed = bytes(deflate.deflate_compress(content, LEVEL))
    return (_DEFLATED, packed) if len(packed) < len(content) else (_STORED, content)


def _encoded(name: str) -> bytes:
    return name.encode()


def _flags(name: str) -> int:
    return 0 if name.isascii() else _UTF8_NAMES


def _local_header(entry: Entry) -> bytes:
    name = _encoded(entry.name)
    sizes = (entry.crc, entry.compressed, entry.size, len(name), 0)
    return _LOCAL.pack(b"PK\3\4", _VERSION, _flags(entry.name), entry.method, 0, _DATE, *sizes) + name


def _central_header(name: bytes, entry: Entry, offset: int) -> bytes:
    attributes = entry.mode << 16 | (_IS_FOLDER if entry.name.endswith("/") else 0)
    return _CENTRAL.pack(
        b"PK\1\2",
        _UNIX << 8 | _VERSION,
        _VERSION,
        _flags(entry.name),
        entry.method,
        0,
        _DATE,
        entry.crc,
        entry.compressed,
        entry.size,
        len(name),
        0,
        0,
        0,
        0,
        attributes,
        offset,
    )
