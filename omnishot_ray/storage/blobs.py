"""Bytes by their content: each is kept once, under the BLAKE3 of itself."""

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from omnishot_ray.digest import content_digest
from omnishot_ray.errors import NotStored
from omnishot_ray.storage.folders import open_folder

_DIGEST = re.compile(r"[0-9a-f]{64}")
_ABANDONED_S = 3600.0
"""No write takes longer."""


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
    power cut too. Any number of threads, processes and nodes may use one store at once.
    """

    def __init__(self, uri: str) -> None:
        """`uri` is `file:///path`, `s3://bucket/path?…` or `gs://bucket/path?…`.

        Nothing is opened before the first call. Raises `ValueError` (see `check_uri`).
        """
        self._folder = open_folder(uri)

    def put(self, data: bytes) -> str:
        """Keep bytes for sure, and return their BLAKE3 in hex. What is there already stays.

        Raises:
            StorageUnavailable: the store cannot be reached, or is full; nothing was kept.
        """
        digest = content_digest(data).hex()
        path = _path(digest)
        if not (self._holds(path, data) and self._folder.touch(path)):
            self._folder.write(path, data)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of a digest, checked against it.

        Raises:
            NotStored: there are none, or what is there are not these bytes.
            StorageUnavailable: the store cannot be reached.
            ValueError: this is no digest.
        """
        try:
            data = self._folder.read(_path(digest))
        except FileNotFoundError:
            raise NotStored(f"Nothing is stored under {digest} (any more).") from None
        if content_digest(data).hex() != digest:
            raise NotStored(f"What is stored under {digest} is damaged.")
        return data

    def exists(self, digest: str) -> bool:
        """Whether there is something for `get`. Raises `StorageUnavailable`, `ValueError`."""
        try:
            self._folder.stat(_path(digest))
        except FileNotFoundError:
            return False
        return True

    def delete(self, digest: str, older_than_s: float = 0.0) -> bool:
        """Forget, unless it was put less than `older_than_s` ago; whether it was there and went.

        Raises `StorageUnavailable`, `ValueError`.
        """
        try:
            return self._folder.delete(_path(digest), older_than_s)
        except FileNotFoundError:
            return False

    def list_older(self, than_s: float) -> Iterator[BlobInfo]:
        """What was last put more than `than_s` seconds ago.

        For collecting garbage: keep `than_s` longer than it takes from `put` to the record that
        names the digest, and give it to `delete` too. What writes have left behind goes on the way.
        Raises `StorageUnavailable`.
        """
        self._folder.sweep(_ABANDONED_S)
        before = time.time() - than_s
        for info in self._folder.list_files():
            digest = info.path.rpartition("/")[2]
            if info.modified_at < before and _DIGEST.fullmatch(digest):
                yield BlobInfo(digest, info.size, info.modified_at)

    def check(self) -> None:
        """Ask the store for a sign of life. Raises `StorageUnavailable`."""
        self._folder.check()

    def _holds(self, path: str, data: bytes) -> bool:
        """Whether these very bytes are there; if others are, they are written again."""
        with suppress(FileNotFoundError):
            return self._folder.stat(path).size == len(data) and self._folder.read(path) == data
        return False


def _path(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise ValueError("a digest is 64 hexadecimal digits")
    return f"{digest[:2]}/{digest}"
