"""Bytes by their content: each is kept once, under the SHA-256 of itself."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What a listing says of one blob."""

    digest: str
    size: int
    """Bytes."""
    modified_at: float
    """Seconds since the epoch, by the store's clock; putting the same bytes again renews it."""


class Blobs:
    """A content-addressed store in a folder or a bucket. All calls block: call them in threads.

    Files are `<first two digits>/<digest>`. A reader sees a blob whole or not at all, after a
    crash too. Any number of processes and nodes may use one store at once.
    """

    def __init__(self, uri: str) -> None:
        """`uri` is pyarrow.fs's: `file:///path`, `s3://bucket/path?…`, `gs://bucket/path`.

        Nothing is opened before the first call.
        """
        self._uri = uri

    def put(self, data: bytes) -> str:
        """Keep bytes for sure, and return their SHA-256 in hex. What is there already stays.

        Raises:
            StorageUnavailable: the store cannot be reached, or is full; nothing was kept.
        """
        raise NotImplementedError

    def get(self, digest: str) -> bytes:
        """The bytes of a digest, checked against it.

        Raises:
            NotStored: there are none, or what is there are not these bytes.
            StorageUnavailable: the store cannot be reached.
        """
        raise NotImplementedError

    def exists(self, digest: str) -> bool:
        """Whether `get` would find them. Raises `StorageUnavailable`."""
        raise NotImplementedError

    def delete(self, digest: str) -> None:
        """Forget; what is not there is no error. Raises `StorageUnavailable`."""
        raise NotImplementedError

    def list_older(self, than_s: float) -> Iterator[BlobInfo]:
        """What was last put more than `than_s` seconds ago, and abandoned halves of writes gone.

        For collecting garbage: keep `than_s` longer than it takes from `put` to the record that
        names the digest. Raises `StorageUnavailable`.
        """
        raise NotImplementedError

    def check(self) -> None:
        """Ask the store for a sign of life. Raises `StorageUnavailable`."""
        raise NotImplementedError
