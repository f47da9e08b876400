"""A folder or a bucket by its URI, and what can be done in it."""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from omnishot_ray.errors import AddressRefused, StorageUnavailable
from omnishot_ray.storage.config import check_uri

FULL_AGAIN_S = 30.0
"""A full disk does not empty itself: somebody has to come."""
DOWN_AGAIN_S = 5.0

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NOT_A_PATH = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG})


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What a listing says of one file."""

    path: str
    """Relative to the folder."""
    size: int
    """Bytes."""
    modified_at: float
    """Seconds since the epoch, by the store's clock."""


class TooLarge(Exception):
    """A file has more bytes than the reader takes."""


class Folder(Protocol):
    """Files under one root, by relative paths whose parts `check_path` has seen.

    All calls block. They raise `FileNotFoundError` where there is no such file, `AddressRefused`
    where the path cannot be one (a link or a file in place of a folder), `StorageUnavailable`
    for everything else that is not as it should be.
    """

    def read(self, path: str, limit: int | None = None) -> bytes:
        """The bytes of a file; `TooLarge` when there are more than `limit`."""
        ...

    def write(self, path: str, data: bytes, attributes: Mapping[str, str] | None = None) -> None:
        """Put a file there for sure; readers see the old one or the new one, whole.

        `attributes` are kept where the store can: `Content-Type`, `Cache-Control`, and others as
        the user's metadata.
        """
        ...

    def touch(self, path: str) -> bool:
        """Renew the time of a file; False where it has to be written again for that."""
        ...

    def stat(self, path: str) -> FileInfo:
        """Size and time of a file."""
        ...

    def delete(self, path: str, older_than_s: float = 0.0) -> bool:
        """Remove a file last written or touched longer ago; False when it was too young."""
        ...

    def list_files(self) -> Iterator[FileInfo]:
        """All files under the root, in no order; what a write has left behind is not among them."""
        ...

    def sweep(self, older_than_s: float) -> int:
        """Remove what writes that did not end have left behind; how many there were."""
        ...

    def check(self) -> None:
        """Ask for a sign of life."""
        ...


def open_folder(uri: str) -> Folder:
    """The folder of a URI (see `check_uri`). Nothing is asked before the first call.

    Raises `ValueError`.
    """
    check_uri(uri)
    parts = urlsplit(uri)
    path = unquote(parts.path)
    if parts.scheme == "file":
        from omnishot_ray.storage.local import LocalFolder  # noqa: PLC0415

        return LocalFolder(path)
    # obstore takes 30 ms and 10 MB that only those pay who have a bucket
    from omnishot_ray.storage.objects import ObjectFolder  # noqa: PLC0415

    return ObjectFolder(parts.scheme, parts.netloc, path, dict(parse_qsl(parts.query)))


def check_path(path: str) -> str:
    """A relative path of one or more plain parts, joined by slashes.

    Raises `AddressRefused`: it is empty or absolute, or has `.`, `..`, empty parts, backslashes or
    control characters.
    """
    parts = path.split("/")
    plain = all(
        part not in ("", ".", "..")
        and len(part.encode("utf-8", "surrogatepass")) <= 255
        and part.isprintable()
        and not set(part) & set("\\\ufffd")  # the latter stands for what is no UTF-8
        for part in parts
    )
    if not plain or len(path) > 1024:
        raise AddressRefused("a path is written plainly, folder/name, without ., .., // or \\.")
    return path


@contextmanager
def storage_faults() -> Iterator[None]:
    """Within, what the operating system says is said in our words."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in _NOT_A_PATH:
            raise AddressRefused(
                "This path is not allowed: a part of it is a link, or a file in place of a folder, "
                "or too long."
            ) from error
        raise unavailable(error) from error


def unavailable(error: Exception | None = None) -> StorageUnavailable:
    """What is said of a store that does not answer as it should."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return StorageUnavailable(
            "The storage is full; nothing was kept. Try again later.", FULL_AGAIN_S
        )
    return StorageUnavailable("The storage cannot be reached; try again soon.", DOWN_AGAIN_S)
