"""Results where a request wants them: under an allowed root, whole or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass

from omnishot_ray.storage.config import StorageConfig


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
        self._config = config

    def check(self, uri: str) -> None:
        """Say no before any work is done: for a folder or file that a request names as its output.

        Raises:
            AddressRefused: it is not under an allowed root, or not written plainly.
        """
        raise NotImplementedError

    def write(self, output: Output) -> None:
        """Write one file; readers see the old one or the new one, whole.

        An object store keeps content type, `Cache-Control: public, max-age=31536000, immutable`
        and the metadata `format`, `width`, `height` with it.

        Raises:
            AddressRefused: not under an allowed root.
            StorageUnavailable: the store cannot be reached, or is full.
        """
        raise NotImplementedError

    def write_all(self, outputs: Sequence[Output]) -> None:
        """Write several at once, eight at a time; raises the first failure when all have ended."""
        raise NotImplementedError
