"""A source by its address: from the web past the guard, or from a store under an allowed root."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

from omnishot_ray.circuit import Circuits
from omnishot_ray.errors import SourceTooLarge, UpstreamRefused, UpstreamTimeout
from omnishot_ray.storage.config import StorageConfig
from omnishot_ray.storage.fetch import FetchConfig, Fetched, Fetcher, attempt
from omnishot_ray.storage.folders import Folder, TooLarge
from omnishot_ray.storage.outbound import OpenSocket, Resolver
from omnishot_ray.storage.roots import Roots

_STORES = ("s3://", "gs://", "file://")
_THREADS = 4
_STORES_KNOWN = 64
_LOOK_S = 2.0


class Sources:
    """Reads `http://`, `https://`, `s3://`, `gs://`, `file://`. Only for one event loop."""

    def __init__(
        self,
        fetch: FetchConfig,
        storage: StorageConfig,
        resolver: Resolver | None = None,
        open_socket: OpenSocket = socket.socket,
    ) -> None:
        """Raises `ValueError`. Nothing is opened before the first source."""
        self._fetcher = Fetcher(fetch, resolver, open_socket)
        self._roots = Roots(storage.source_roots, "url")
        self._outputs = Roots(storage.output_roots, "output")
        self._look: asyncio.Future[list[str]] | None = None
        self._max_bytes, self._timeout_s = fetch.max_bytes, fetch.timeout_s
        self._circuits = Circuits(fetch.fail_max, fetch.rest_s, _STORES_KNOWN)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="source")

    def check(self, url: str) -> None:
        """Say no before anything is asked: what the address alone shows to be wrong.

        Raises `InvalidParameters` or `AddressRefused`.
        """
        if url.startswith(_STORES):
            self._roots.find(url)
        else:
            self._fetcher.guard.read(url)

    async def fetch(self, url: str) -> Fetched:
        """The bytes at an address.

        Raises what `Fetcher.fetch` raises; for stores `AddressRefused` (no allowed root),
        `UpstreamRefused` (nothing there), `SourceTooLarge`, `UpstreamTimeout`,
        `StorageUnavailable`, `UpstreamResting`.
        """
        if not url.startswith(_STORES):
            return await self._fetcher.fetch(url)
        folder, path = self._roots.find(url)
        store = _store_of(url)
        with attempt(self._circuits.find(store), store):
            loop = asyncio.get_running_loop()
            reading = loop.run_in_executor(self._threads, self._read, folder, path, url)
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await reading
            except TimeoutError:
                raise UpstreamTimeout(
                    f"The storage did not give the picture within {self._timeout_s:g} s."
                ) from None

    def describe_services(self) -> dict[str, dict[str, object]]:
        """The hosts and the stores that were asked, as parts of the service's health."""
        stores = {"sources": self._circuits.describe("down")} if self._roots else {}
        return {**self._fetcher.describe_services(), **stores}

    async def check_storage(self) -> str | None:
        """`ok` or what is the matter with the folders that may be named; None where there are none.

        Those of results are looked at: once at a time, so that a store that hangs holds one thread.
        Those of sources may be such as can only be read; their circuits tell what is known of them.
        """
        if not (self._roots or self._outputs):
            return None
        if left_alone := self._circuits.describe("down")["detail"]:
            return str(left_alone)
        if self._look is None or self._look.done():
            self._look = asyncio.ensure_future(asyncio.to_thread(self._outputs.failing))
        try:
            async with asyncio.timeout(_LOOK_S):
                failing = await asyncio.shield(self._look)
        except TimeoutError:
            return f"no answer within {_LOOK_S:g} s"
        return f"does not answer: {', '.join(failing)}" if failing else "ok"

    async def close(self) -> None:
        """Let go of connections and threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._fetcher.close()

    def _read(self, folder: Folder, path: str, url: str) -> Fetched:
        try:
            return Fetched(folder.read(path, self._max_bytes), "", url)
        except FileNotFoundError:
            raise UpstreamRefused("Nothing is stored at this address.") from None
        except TooLarge:
            limit = self._max_bytes
            raise SourceTooLarge(
                f"What is at this address has more than {limit} bytes ({limit / 2**20:g} MiB); "
                "name a smaller file."
            ) from None


def _store_of(url: str) -> str:
    """What stands and falls together: a bucket, or the files of this machine."""
    return "/".join(url.split("/", 3)[:3])
