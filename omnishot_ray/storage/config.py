"""Where bytes may be read from and written to."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

_SCHEMES = ("file", "s3", "gs")
_QUERY = {
    "file": frozenset[str](),
    "s3": frozenset({"region", "endpoint_override", "scheme", "anonymous"}),
    "gs": frozenset({"endpoint_override", "scheme", "anonymous"}),
}
_HIDDEN = re.compile(r"//[^/]*@")


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """Roots are URIs of folders: `file:///path`, `s3://bucket/path`, `gs://bucket/path`."""

    source_roots: tuple[str, ...] = field(default=(), repr=False)
    """Under these a request may name a source; none: only http and https."""
    output_roots: tuple[str, ...] = field(default=(), repr=False)
    """Under these a request may have its results written; none: nowhere."""

    def __post_init__(self) -> None:
        for name in ("source_roots", "output_roots"):
            for root in getattr(self, name):
                try:
                    check_uri(root)
                except ValueError as fault:
                    raise ValueError(f"{name}: {fault}") from None


def check_uri(uri: str) -> None:
    """Refuse what is no URI of a folder: `file:///path`, `s3://bucket/path?region=…`, `gs://…`.

    The query of a bucket may have `region` (S3), `endpoint_override` (`host:port`), `scheme`
    (`http`) and `anonymous` (`true`), as pyarrow.fs calls them; `s3://key:secret@bucket` has keys.

    Raises `ValueError`.
    """
    shown = _HIDDEN.sub("//…@", uri)
    parts = urlsplit(uri)
    if parts.scheme not in _SCHEMES or bool(parts.netloc) is (parts.scheme == "file"):
        raise ValueError(
            f"{shown!r} has to be a URI such as file:///path, s3://bucket/path or gs://bucket/path"
        )
    if parts.fragment or ".." in parts.path.split("/"):
        raise ValueError(f"{shown!r} must not have .. or # in it")
    unknown = {name for name, _ in parse_qsl(parts.query)} - _QUERY[parts.scheme]
    if unknown:
        raise ValueError(f"{shown!r} has unknown options: {', '.join(sorted(unknown))}")
