"""Where a long output goes besides memory: a file or an S3 object, complete or not there at all.

Nothing here holds more than one part of an S3 upload, however long the output is.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, cast

from botocore.session import Session

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

S3_PART_BYTES = 8 * 1024 * 1024
"""S3 takes at most 10,000 parts, each but the last of at least 5 MiB (*Multipart upload limits*): this is room for 78 GiB."""


class Destination(Protocol):
    """Takes a run's stdout as it comes."""

    def write(self, data: bytes) -> None:
        """Take in the next bytes."""

    def commit(self) -> None:
        """Make what was written visible: it is complete."""

    def abort(self) -> None:
        """Leave nothing behind: it will not be complete."""


class ToFile:
    """A file that appears when it is complete, and replaces one of that name.

    Args:
        path: Its path; its folder exists.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._file: IO[bytes] | None = None

    def write(self, data: bytes) -> None:
        """Write to a file of another name beside it."""
        self._opened().write(data)

    def commit(self) -> None:
        """Rename it into place."""
        file = self._opened()
        file.flush()
        os.fsync(file.fileno())
        file.close()
        Path(file.name).replace(self._path)
        self._file = None

    def abort(self) -> None:
        """Remove what was written."""
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)
            self._file = None

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            beside = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
            self._file = beside.open("xb")
        return self._file


class ToS3:
    """An object in S3, uploaded part by part; it appears when it is complete.

    Args:
        bucket: The bucket's name.
        key: The object's key.
        s3: The client to upload with; None for one with this process's AWS settings.

    Note:
        It needs `s3:PutObject` and `s3:AbortMultipartUpload`. A process that is killed in mid-upload leaves parts that are
        paid for: give the bucket a lifecycle rule with `AbortIncompleteMultipartUpload`.
    """

    def __init__(self, bucket: str, key: str, *, s3: S3Client | None = None) -> None:
        self._bucket = bucket
        self._key = key
        self._s3 = s3
        self._upload_id: str | None = None
        self._parts: list[CompletedPartTypeDef] = []
        self._waiting = bytearray()

    def write(self, data: bytes) -> None:
        """Upload a part whenever there is enough for one."""
        self._waiting += data
        while len(self._waiting) >= S3_PART_BYTES:
            self._upload(bytes(memoryview(self._waiting)[:S3_PART_BYTES]))
            del self._waiting[:S3_PART_BYTES]

    def commit(self) -> None:
        """Upload the rest and complete the object."""
        rest = bytes(self._waiting)
        if self._upload_id is None:
            self._client().put_object(Bucket=self._bucket, Key=self._key, Body=rest)
        else:
            if rest:
                self._upload(rest)
            self._client().complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=self._upload_id,
                MultipartUpload={"Parts": self._parts},
            )
        self._waiting.clear()

    def abort(self) -> None:
        """Have S3 forget the parts."""
        self._waiting.clear()
        if self._upload_id is not None:
            # The error that led here is the one to report; a lifecycle rule is left.
            with contextlib.suppress(Exception):
                self._client().abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._upload_id)

    def _upload(self, data: bytes) -> None:
        if self._upload_id is None:
            self._upload_id = self._client().create_multipart_upload(Bucket=self._bucket, Key=self._key)["UploadId"]
        number = len(self._parts) + 1
        done = self._client().upload_part(
            Bucket=self._bucket, Key=self._key, UploadId=self._upload_id, PartNumber=number, Body=data
        )
        self._parts.append({"PartNumber": number, "ETag": done["ETag"]})

    def _client(self) -> S3Client:
        if self._s3 is None:
            self._s3 = cast("S3Client", Session().create_client("s3"))
        return self._s3
