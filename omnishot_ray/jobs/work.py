"""What a job does, as values that outlive a release, and the names of what comes of it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import orjson

from omnishot_ray import __version__
from omnishot_ray.imaging.cost import estimate_ms
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.header import Header
from omnishot_ray.imaging.options import Options

_DEFAULTS = Options()
_KNOWN = {item.name for item in fields(Options)}


def as_values(options: Options) -> dict[str, Any]:
    """The name of a rendition and the options that are not the default, for JSON."""
    values = {
        item.name: value
        for item in fields(Options)
        if (value := getattr(options, item.name)) != getattr(_DEFAULTS, item.name)
    }
    return {**values, "name": options.name}


def as_options(values: Mapping[str, Any]) -> Options:
    """The options that `as_values` wrote; what is not known any more is passed over."""
    known = {name: value for name, value in values.items() if name in _KNOWN}
    if "accept" in known:
        known["accept"] = tuple(Format(name) for name in known["accept"])
    return Options(**known)


def work_key(digest: str, variants: Sequence[Mapping[str, Any]]) -> str:
    """The name of the results of a picture: the same content, options and engine, the same name."""
    return _digest(__version__, digest, list(variants))


def scope_of(
    user_id: str, source: str, variants: Sequence[Mapping[str, Any]], output: str, callback: str
) -> str:
    """Jobs of one scope are one job: the same owner wants the same of the same source."""
    return _digest(__version__, user_id, source, list(variants), output, callback)


def _digest(*parts: object) -> str:
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def in_chunks(
    size: int, header: Header, wanted: Sequence[Options], chunk_ms: float
) -> list[tuple[Options, ...]]:
    """The renditions in their order, each chunk with its decode estimated below `chunk_ms`.

    What is dearer alone is a chunk alone. Core-milliseconds; `size` is the file's in bytes.
    """
    chunks: list[tuple[Options, ...]] = []
    for options in wanted:
        longer = (*chunks[-1], options) if chunks else ()
        if longer and estimate_ms(size, header, longer) <= chunk_ms:
            chunks[-1] = longer
        else:
            chunks.append((options,))
    return chunks
