"""Checkpoints in S3. An object is there whole or not at all, since S3 shows neither a broken PutObject nor an unfinished multipart upload.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from botocore.exceptions import ClientError

from spot_agent.clients import calling, error_code
from spot_agent.errors import Misconfigured, NotSaved, Unusable

if TYPE_CHECKING:
    from pathlib import Path

    from spot_agent.job import Checkpoint

SINGLE_PUT_BYTES = 64 * 1024 * 1024
"""Larger archives are sent in parts, several at a time."""
CHECKSUM = "SHA256"
"""With it, S3 refuses what does not arrive as it was sent: damage shows while the good state is still there.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""
CHUNK_BYTES = 1024 * 1024
MISSING = frozenset({"NoSuchKey", "404", "NotFound"})


class Place(NamedTuple):
    """A bucket and what every key in it begins with."""

    bucket: str
    prefix: str

    @classmethod
    def of(cls, uri: str) -> Place:
        """Read ``s3://bucket/prefix``."""
        scheme, _, rest = uri.partition("://")
        bucket, _, prefix = rest.partition("/")
        if scheme != "s3" or not bucket:
            raise Misconfigured(f"the job's item: checkpoint_uri: expected s3://bucket/prefix, got {uri!r}")
        return cls(bucket, prefix.strip("/"))

    def key(self, *names: str) -> str:
        """Return the key of an object."""
        return "/".join((self.prefix, *names) if self.prefix else names)


class S3CheckpointStore:
    """Puts, fetches and deletes archives."""

    def __init__(self, client: Any, parts: Any = None) -> None:  # noqa: ANN401  # botocore clients
        """``parts`` sends the parts of large archives; it should try more than once, since one that fails means to send all of them again."""
        self._client = client
        self._parts = parts or client

    def put(self, archive: Path, place: Place, key: str) -> None:
        """Store an archive; when this returns, it is durable."""
        with calling("s3:PutObject"):
            if archive.stat().st_size > SINGLE_PUT_BYTES:
                self._put_in_parts(archive, place.bucket, key)
            else:
                with archive.open("rb") as body:
                    self._client.put_object(Bucket=place.bucket, Key=key, Body=body, ChecksumAlgorithm=CHECKSUM)

    def _put_in_parts(self, archive: Path, bucket: str, key: str) -> None:
        from s3transfer.manager import TransferConfig, TransferManager  # noqa: PLC0415  # only large archives need it

        config = TransferConfig(multipart_threshold=SINGLE_PUT_BYTES, multipart_chunksize=SINGLE_PUT_BYTES // 4, max_request_concurrency=4)
        with TransferManager(self._parts, config) as transfers:
            transfers.upload(str(archive), bucket, key, extra_args={"ChecksumAlgorithm": CHECKSUM}).result()

    def fetch(self, checkpoint: Checkpoint, place: Place, archive: Path, is_abandoned: Callable[[], bool]) -> None:
        """Bring a checkpoint into a file; raise Unusable unless it is, to the byte, what was saved."""
        with calling("s3:GetObject"):
            digest, size = self._download(checkpoint.key, place.bucket, archive, is_abandoned)
        if (digest, size) != (checkpoint.sha256, checkpoint.size):
            expected = f"{checkpoint.size} bytes with SHA-256 {checkpoint.sha256}"
            raise Unusable(f"{checkpoint.key}: expected {expected}, found {size} bytes with {digest}")

    def _download(self, key: str, bucket: str, archive: Path, is_abandoned: Callable[[], bool]) -> tuple[str, int]:
        try:
            body = self._client.get_object(Bucket=bucket, Key=key)["Body"]
        except ClientError as error:
            if error_code(error) in MISSING:
                raise Unusable(f"{key}: there is no such object in {bucket}") from error
            raise
        digest, size = hashlib.sha256(), 0
        with archive.open("wb") as file:
            while chunk := body.read(CHUNK_BYTES):
                if is_abandoned():
                    raise NotSaved("no longer needed")
                digest.update(chunk)
                size += file.write(chunk)
        return digest.hexdigest(), size

    def delete(self, place: Place, key: str) -> None:
        """Delete a checkpoint."""
        with calling("s3:DeleteObject"):
            self._client.delete_object(Bucket=place.bucket, Key=key)
