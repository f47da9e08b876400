"""`api.*`: bodies, headers, callers."""

import asyncio
import random
from functools import partial
from statistics import median

from starlette.types import Message, Receive

from benchmarks import memory, rss
from benchmarks.limits import PHOTO
from benchmarks.parts.asking import Answer, ask, face, scope_of
from benchmarks.parts.case import (
    REDIS,
    Case,
    Figures,
    Spent,
    filled,
    fresh,
    pace,
    pace_of,
    rendition,
    spending,
)
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.proxies import Proxies
from omnishot_ray.api.ratelimits import RateLimits
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.pipeline import process
from omnishot_ray.metrics.local import LocalMetrics

_SMALL = PHOTO.parent / "valid" / "photo_flower_480x360.jpg"
_JPEG = {"content-type": "image/jpeg"}


def _make_many(count: int) -> Figures:
    """In this process, which has done nothing before."""
    data = PHOTO.read_bytes()
    wanted = [rendition(n, width=400 + 10 * n, format="jpeg") for n in range(count)]
    process(memory.tiny(data), wanted[:1], Limits())
    rest = rss.start_peak()
    with spending() as spent:
        made = process(data, wanted, Limits())
    answer = sum(len(one.data) for one in made.renditions)  # type: ignore[union-attr]
    peak = rss.peak_bytes() - rest
    return {"core-ms": spent.core_s * 1e3, "MB beyond rest": peak / 1e6, "MB sent": answer / 1e6}


def _take_large(most: int) -> Figures:
    """In this process, which has done nothing before: a body of just so many bytes."""
    photo = _SMALL.read_bytes()
    body = photo + random.Random(1).randbytes(most - len(photo))
    app = face(ApiConfig(max_body_bytes=most))

    async def both() -> tuple[Spent, int, Answer]:
        await ask(app, "POST", "/api/optimize?width=200", photo, _JPEG)
        rest = rss.start_peak()
        with spending() as spent:
            taken = await ask(app, "POST", "/api/optimize?width=201", body, _JPEG)
        peak = rss.peak_bytes() - rest
        assert taken.status == 200, taken
        return spent, peak, await ask(app, "POST", "/api/optimize", body + b"x", _JPEG)

    spent, peak, refused = asyncio.run(both())
    assert refused.status == 413, refused
    return {
        "core-ms": spent.core_s * 1e3,
        "MB beyond rest and body": peak / 1e6,
        "ms to refuse one byte more": refused.seconds * 1e3,
    }


def _drip(every_s: float, size: int) -> Receive:
    """A client that sends so many bytes every so often, and never comes to its end."""

    async def receive() -> Message:
        await asyncio.sleep(every_s)
        return {"type": "http.request", "body": bytes(size), "more_body": True}

    return receive


async def _until_408(config: ApiConfig, receive: Receive) -> float:
    answer = await ask(face(config), "POST", "/api/optimize", headers=_JPEG, receive=receive)
    assert answer.status == 408, answer
    return answer.seconds


async def _long_body(seconds: float) -> Figures:
    config = ApiConfig(body_timeout_s=seconds)
    return {"s until 408 with 4 kB/s": await _until_408(config, _drip(0.5, 2000))}


async def _idle_body(seconds: float) -> Figures:
    config = ApiConfig(body_idle_s=seconds)
    still, slow = await asyncio.gather(
        _until_408(config, _drip(1000.0, 0)), _until_408(config, _drip(0.2, 100))
    )
    return {"s until 408 standing still": still, "s until 408 with 0.5 kB/s": slow}


async def _cached_answer(cache_control: str) -> Figures:
    app = face(ApiConfig(cache_control=cache_control))
    photo = _SMALL.read_bytes()

    async def send(**headers: str) -> Answer:
        return await ask(app, "POST", "/api/optimize?width=200", photo, {**_JPEG, **headers})

    whole = [await send() for _ in range(20)]
    etag = dict(whole[0].headers)[b"etag"].decode()
    again = [await send(**{"if-none-match": etag}) for _ in range(20)]
    assert again[0].status == 304, again[0]
    return {
        "bytes of headers": whole[0].header_bytes,
        "ms asked for anew": median(one.seconds for one in whole) * 1e3,
        "ms asked whether it is the same (304)": median(one.seconds for one in again) * 1e3,
    }


async def _secure_answer(hsts_s: int) -> Figures:
    app = face(ApiConfig(hsts_s=hsts_s))
    taken = await pace(partial(ask, app, "GET", "/health"), 500)
    answer = await ask(app, "GET", "/health")
    return {"bytes of headers": answer.header_bytes, "core-µs of /health": taken.core_us}


async def _counted(url: str) -> Figures:
    with filled(url) as at:
        limits = RateLimits(10**9, 60, at)
        taken = await pace(partial(limits.take, "address:192.0.2.1"), 500)
        await limits.close()
    return {"µs a request": taken.us, "core-µs of it": taken.core_us}


def _trusted(proxies: tuple[str, ...]) -> Figures:
    reader = Proxies(proxies)
    headers = {"x-forwarded-for": "198.51.100.7, 203.0.113.9"}
    scope = {**scope_of("http", "GET", "/", headers), "client": ("10.0.99.1", 40_000)}
    return {"core-µs to tell who asks": pace_of(lambda: reader.client_of(scope), 2000).core_us}


async def _compressed(least: int) -> Figures:
    app = face(ApiConfig(compress_min_bytes=least), metrics=LocalMetrics())
    figures: dict[str, float] = {}
    for target in ("/analytics.js", "/api/platforms"):
        get = partial(ask, app, "GET", target, headers={"accept-encoding": "gzip, br, zstd"})
        figures[f"bytes of `{target}`"] = len((await get()).body)
        figures[f"core-µs of `{target}`"] = (await pace(get, 50)).core_us
    return figures


def _networks(count: int) -> tuple[str, ...]:
    """So many of private ones, the last the one that is looked for."""
    return tuple(f"10.0.{99 - n}.0/24" for n in reversed(range(count)))


CASES = (
    Case(
        "api.max_body_bytes",
        (32 << 20, 1 << 20, 128 << 20),
        "480×360 → 200, with bytes behind it that nobody needs",
        partial(fresh, _take_large),
    ),
    Case(
        "api.max_variants",
        (64, 1, 16),
        "so many JPEGs of 400 px and more of one photo of 12.7 MP",
        partial(fresh, _make_many),
    ),
    Case("api.body_timeout_s", (30.0, 5.0, 10.0), "a client that sends slowly", _long_body, True),
    Case("api.body_idle_s", (5.0, 1.0, 15.0), "a client that stands still", _idle_body, True),
    Case(
        "api.cache_control",
        ("public, max-age=86400", "no-store", "private"),
        "480×360 → 200",
        _cached_answer,
    ),
    Case("api.redis_url", ("", REDIS), "a rate limit", _counted),
    Case(
        "api.trusted_proxies",
        ((), _networks(1), _networks(100)),
        "`X-Forwarded-For` with two addresses",
        _trusted,
    ),
    Case("api.hsts_s", (0, 86_400, 31_536_000), "an answer", _secure_answer),
    Case(
        "api.compress_min_bytes",
        (1024, 0, 100_000),
        "answers to who takes gzip, Brotli and zstd",
        _compressed,
    ),
)
