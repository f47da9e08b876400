"""The identity of a result: the same bytes and options give the same tag, before any work."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache

from omnishot_ray import __version__
from omnishot_ray.imaging.options import Options


def cache_key(digest: bytes, wanted: Sequence[Options]) -> str:
    """The name of a result: `<digest of the source>-<digest of what is wanted of it>`.

    The engine is deterministic, so the name stands for the bytes, before any work.
    """
    return f"{digest.hex()}-{_digest_of(tuple(wanted))}"


@lru_cache(maxsize=4096)
def _digest_of(wanted: tuple[Options, ...]) -> str:
    return hashlib.sha256(f"{__version__} {wanted!r}".encode()).hexdigest()[:32]


def etag(key: str) -> str:
    """The strong entity tag of a rendition made alone, by its `cache_key`.

    Beside others it may come from a larger shared decode, and is tagged by its own bytes
    (`data_etag`).
    """
    source, _, wanted = key.partition("-")
    return f'"{source[:32]}-{wanted[:16]}"'


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


def matches_there(if_none_match: str, tag: str) -> bool:
    """The same of what is known to be there: `*` names it, too."""
    return if_none_match.strip() == "*" or matches(if_none_match, tag)
