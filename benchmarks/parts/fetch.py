"""`fetch.*` and `storage.*`: pictures from elsewhere, and results to elsewhere."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import Any

import certifi

from benchmarks import rss
from benchmarks.parts.case import (
    FOLDER,
    Case,
    Figures,
    fresh,
    pace,
    pace_of,
    place,
    spending,
)
from benchmarks.parts.peers import NEAR, PORTS, Answering, Peer, redirecting, sending, serving, slow
from omnishot_ray.errors import (
    AddressRefused,
    OmnishotError,
    Overloaded,
    SourceTooLarge,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamResting,
    UpstreamTimeout,
)
from omnishot_ray.storage.config import StorageConfig
from omnishot_ray.storage.fetch import FetchConfig, Fetched, Fetcher
from omnishot_ray.storage.guard import Guard
from omnishot_ray.storage.outputs import Output, Outputs
from omnishot_ray.storage.sources import Sources

_PICTURE = bytes(100_000)
_ENDLESS_S = 3600.0


@asynccontextmanager
async def _fetching(answer: Answering, **config: Any) -> AsyncIterator[tuple[Fetcher, Peer]]:
    async with serving(answer) as peer:
        fetcher = Fetcher(FetchConfig(**{**NEAR, **config}))
        try:
            yield fetcher, peer
        finally:
            await fetcher.close()


async def _outcome(fetcher: Fetcher, url: str) -> tuple[float, Fetched | OmnishotError]:
    """Seconds until the answer, and what it was."""
    began = perf_counter()
    try:
        found: Fetched | OmnishotError = await fetcher.fetch(url)
    except OmnishotError as error:
        found = error
    return perf_counter() - began, found


async def _hanging(seconds: float) -> Figures:
    async with _fetching(slow(_ENDLESS_S), timeout_s=seconds) as (fetcher, peer):
        took_s, found = await _outcome(fetcher, peer.url)
    assert isinstance(found, UpstreamTimeout), found
    return {"s until it is given up": took_s}


def _large(most: int) -> Figures:
    """In a process of its own, for its memory."""
    return asyncio.run(_large_here(most))


async def _large_here(most: int) -> Figures:
    async with _fetching(sending(most), max_bytes=most, timeout_s=60.0) as (fetcher, peer):
        rest = rss.start_peak()
        with spending() as spent:
            _, found = await _outcome(fetcher, peer.url)
        peak = rss.peak_bytes() - rest
    assert isinstance(found, Fetched), found
    async with _fetching(sending(most + 1), max_bytes=most, timeout_s=60.0) as (fetcher, peer):
        with spending() as refusing:
            _, refused = await _outcome(fetcher, peer.url)
    assert isinstance(refused, SourceTooLarge), refused
    return {
        "core-ms of the largest with what sends it": spent.core_s * 1e3,
        "MB beyond rest": peak / 1e6,
        "core-ms until one byte more is refused": refusing.core_s * 1e3,
    }


async def _redirected(most: int) -> Figures:
    async with _fetching(redirecting(), max_redirects=most) as (fetcher, peer):
        await _outcome(fetcher, peer.url)
        before = peer.asked
        took_s, found = await _outcome(fetcher, peer.url)
        asked = peer.asked - before
    assert isinstance(found, UpstreamRefused), found
    return {"requests until it is refused": asked, "ms": took_s * 1e3}


def _guarded(**config: Any) -> Figures:
    fetch = FetchConfig(**config)
    guard = Guard(fetch.ports, fetch.allow, fetch.deny)

    def judge() -> None:
        guard.read("https://example.org/pictures/1.jpg")
        guard.permits("93.184.216.34", 443)

    return {"core-µs to judge a name and its address": pace_of(judge, 1000).core_us}


async def _trusting(file: str) -> Figures:
    with place() as folder:
        given = file.replace(FOLDER, str(folder))
        if given:
            shutil.copy(certifi.where(), given)
        async with _fetching(slow(0.0)) as (warm, peer):
            await warm.fetch(peer.url)
            fetcher = Fetcher(FetchConfig(**NEAR, ca_file=given))
            with spending() as first:
                await fetcher.fetch(peer.url)
            with spending() as second:
                await fetcher.fetch(peer.url)
            await fetcher.close()
    return {"core-ms of the first download": first.core_s * 1e3, "of the next": second.core_s * 1e3}


async def _many(most: int, downloads: int = 200, each_s: float = 0.1) -> Figures:
    async with _fetching(slow(each_s), max_at_once=most) as (fetcher, peer):
        began = perf_counter()
        found = await asyncio.gather(*(_outcome(fetcher, peer.url) for _ in range(downloads)))
        took_s = perf_counter() - began
    turned_away = sum(isinstance(one, Overloaded) for _, one in found)
    return {
        "downloads a second": (downloads - turned_away) / took_s,
        "turned away": turned_away,
        "s until all are answered": took_s,
    }


async def _failing(most: int, timeout_s: float = 0.5) -> Figures:
    hanging = slow(_ENDLESS_S)
    async with _fetching(hanging, fail_max=most, timeout_s=timeout_s) as (fetcher, peer):
        began = perf_counter()
        found: object = None
        while not isinstance(found, UpstreamResting):
            took_s, found = await _outcome(fetcher, peer.url)
        spent_s = perf_counter() - began
    return {"s waited for it in all, 0.5 s each": spent_s, "ms of a refusal then": took_s * 1e3}


async def _resting(seconds: float) -> Figures:
    """It fails once, and is well again at once."""
    answers = [slow(0.0), slow(0.0, status=503)]

    async def answer(request: Any) -> Any:
        return await (answers.pop() if len(answers) > 1 else answers[0])(request)

    async with _fetching(answer, fail_max=1, rest_s=seconds) as (fetcher, peer):
        _, found = await _outcome(fetcher, peer.url)
        assert isinstance(found, UpstreamFailed), found
        began = perf_counter()
        while not isinstance(found, Fetched):
            await asyncio.sleep(0.05)
            _, found = await _outcome(fetcher, peer.url)
        return {"s until it is asked again": perf_counter() - began}


async def _read(roots: tuple[str, ...]) -> Figures:
    with place() as folder:
        given = tuple(root.replace(FOLDER, str(folder)) for root in roots)
        (folder / "picture.jpg").write_bytes(_PICTURE)
        sources = Sources(FetchConfig(), StorageConfig(source_roots=given))
        address = (folder / "picture.jpg").as_uri()
        try:
            taken = await pace(partial(sources.fetch, address), 100)
        except AddressRefused:
            taken = None
        await sources.close()
    if taken is None:
        return {"files read": 0}
    return {"µs to read 100 kB": taken.us, "core-µs of it": taken.core_us}


def _write(roots: tuple[str, ...]) -> Figures:
    with place() as folder:
        given = tuple(root.replace(FOLDER, str(folder)) for root in roots)
        outputs = Outputs(StorageConfig(output_roots=given))
        output = Output(f"{folder.as_uri()}/a/b.jpg", _PICTURE, "image/jpeg", "jpeg", 1, 1)
        try:
            taken = pace_of(partial(outputs.write, output), 50)
        except AddressRefused:
            return {"files written": 0}
    return {"µs to write 100 kB": taken.us, "core-µs of it": taken.core_us}


def _networks(count: int) -> tuple[str, ...]:
    return tuple(f"198.51.{number}.0/24" for number in range(count))


def _roots(count: int) -> tuple[str, ...]:
    """So many, the last the one that is used."""
    return (*(f"file:///none/{number}" for number in range(count - 1)), f"file://{FOLDER}")


CASES = (
    Case("fetch.timeout_s", (5.0, 1.0, 10.0), "a server that hangs", _hanging, True),
    Case("fetch.max_bytes", (32 << 20, 8 << 20, 64 << 20), "a server on this machine",
         partial(fresh, _large)),
    Case("fetch.max_redirects", (3, 0, 10), "a server that redirects for ever", _redirected),
    Case("fetch.ports", ((80, 443), (443,), PORTS), "an address judged",
         lambda ports: _guarded(ports=ports)),
    Case("fetch.allow", ((), _networks(1), _networks(100)), "an address judged",
         lambda allow: _guarded(allow=allow)),
    Case("fetch.deny", ((), _networks(1), _networks(100)), "an address judged",
         lambda deny: _guarded(deny=deny)),
    Case("fetch.ca_file", ("", f"{FOLDER}/authorities.pem"), "all authorities of certifi",
         _trusting),
    Case("fetch.max_at_once", (16, 4, 128), "200 at once from a server that takes 100 ms", _many),
    Case("fetch.fail_max", (5, 1, 20), "a server that hangs", _failing, True),
    Case("fetch.rest_s", (30.0, 1.0, 10.0), "a server that failed once", _resting, True),
    Case("storage.source_roots", ((), _roots(1), _roots(100)), "a file of this machine", _read),
    Case("storage.output_roots", ((), _roots(1), _roots(100)), "a file of this machine", _write),
)  # fmt: skip
