"""Results where a request wants them: under an allowed root, whole or not at all."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from omnishot_ray.storage.config import StorageConfig
from omnishot_ray.storage.roots import Roots

CACHE_CONTROL = "public, max-age=31536000, immutable"
"""A year: another rendition has another name."""
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Output:
    """One file to write: `uri` is the whole address, `s3://bucket/folder/name.webp`."""

    uri: str
    data: bytes
    content_type: str
    format: str
    width: int
    height: int


class Outputs:
    """Writes files under the allowed roots. All calls block: call them in threads."""

    def __init__(self, config: StorageConfig) -> None:
        """Raises `ValueError`."""
        self._roots = Roots(config.output_roots, "output")

    def check(self, uri: str) -> None:
        """Say no before any work is done, of a folder that a request names as its output.

        Raises:
            AddressRefused: it is not an allowed root or under one, or not written plainly.
        """
        self._roots.find(f"{uri.rstrip('/')}/name")

    def write(self, output: Output) -> None:
        """Write one file; readers see the old one or the new one, whole.

        An object store keeps content type, `CACHE_CONTROL` and the metadata `format`, `width`,
        `height` with it; a file has none.

        Raises:
            AddressRefused: not under an allowed root, or a link is in the way.
            StorageUnavailable: the store cannot be reached, or is full.
        """
        folder, path = self._roots.find(output.uri)
        attributes = {
            "Content-Type": output.content_type,
            "Cache-Control": CACHE_CONTROL,
            "format": output.format,
            "width": str(output.width),
            "height": str(output.height),
        }
        folder.write(path, output.data, attributes)

    def write_all(self, outputs: Sequence[Output]) -> None:
        """Write several, eight at a time; raises the first failure when all have ended."""
        if not outputs:
            return
        for output in outputs:
            self._roots.find(output.uri)
        with ThreadPoolExecutor(min(_AT_ONCE, len(outputs)), thread_name_prefix="output") as pool:
            written = [pool.submit(self.write, output) for output in outputs]
        for one in written:
            one.result()
