"""A source by its address: from the web past the guard, or from a store under an allowed root."""

from omnishot_ray.storage.config import StorageConfig
from omnishot_ray.storage.fetch import FetchConfig, Fetched, Resolver


class Sources:
    """Reads `http://`, `https://`, `s3://`, `gs://`, `file://`."""

    def __init__(
        self, fetch: FetchConfig, storage: StorageConfig, resolver: Resolver | None = None
    ) -> None:
        self._fetch = fetch
        self._storage = storage

    def check(self, url: str) -> None:
        """Say no before anything is asked: what the address alone shows to be wrong.

        Raises `InvalidParameters` or `AddressRefused`.
        """
        raise NotImplementedError

    async def fetch(self, url: str) -> Fetched:
        """The bytes at an address.

        Raises what `Fetcher.fetch` raises; for stores `AddressRefused` (no allowed root),
        `UpstreamRefused` (nothing there), `SourceTooLarge`, `StorageUnavailable`.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of connections and threads."""
