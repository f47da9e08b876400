"""Where bytes may be read from and written to."""

import math
import re
from dataclasses import dataclass

_URI = re.compile(r"(file:///|(s3|gs)://[^/\s])\S*")


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """Roots are URIs of folders: `file:///path`, `s3://bucket/path`, `gs://bucket/path`.

    Their query is pyarrow's own (`?region=…&endpoint_override=…`), and what a request names is
    compared with what stands before it.
    """

    source_roots: tuple[str, ...] = ()
    """Under these a request may name a source; none: only http and https."""
    output_roots: tuple[str, ...] = ()
    """Under these a request may have its results written; none: nowhere."""
    timeout_s: float = 30.0
    """How long one read or write of a store may take before the store counts as not available."""

    def __post_init__(self) -> None:
        for name in ("source_roots", "output_roots"):
            for root in getattr(self, name):
                if not _URI.fullmatch(root):
                    raise ValueError(
                        f"{name}: {root!r} has to be a URI such as file:///path, "
                        "s3://bucket/path or gs://bucket/path"
                    )
        if not 0 < self.timeout_s < math.inf:
            raise ValueError("timeout_s must be more than 0 and finite")
