"""The identity of a result: the same bytes and options give the same tag, before any work."""

import hashlib
from functools import lru_cache

from omnishot_ray import __version__
from omnishot_ray.imaging.options import Options


def content_digest(data: bytes) -> bytes:
    """SHA-256 of a source's bytes; OpenSSL runs it at over 1 GB/s and without the GIL."""
    return hashlib.sha256(data).digest()


def etag(digest: bytes, options: Options) -> str:
    """A strong entity tag: the engine is deterministic, so source and options name the bytes.

    True of a rendition made alone; beside others it may come from a larger shared decode, and is
    tagged by its own bytes (`data_etag`).
    """
    return data_etag(digest + _canonical(options))


@lru_cache(maxsize=4096)
def _canonical(options: Options) -> bytes:
    return repr(options).encode() + __version__.encode()


def info_etag(digest: bytes) -> str:
    """A strong entity tag of the description of a source."""
    return data_etag(digest + b"info" + __version__.encode())


def data_etag(data: bytes) -> str:
    """A strong entity tag of the bytes themselves."""
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def matches(if_none_match: str, tag: str) -> bool:
    """Weak comparison of `If-None-Match` (RFC 9110 §13.1.2).

    `*` matches nothing: whether there is a result at all is not known before the work.
    """
    return any(
        candidate.strip().removeprefix("W/") == tag for candidate in if_none_match.split(",")
    )
