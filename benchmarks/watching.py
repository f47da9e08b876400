"""What logging costs a request, in microseconds of CPU time: `python -m benchmarks.watching`.

The ASGI application of one gateway in this process, `/health` and a rendition that is in memory,
with and without the layer that watches; the differences are of alternating runs, the median counts.
Then what one line costs, which only slow, failed and drawn requests pay.
"""

import asyncio
import logging
import os
import statistics
import tempfile
from pathlib import Path
from time import process_time

from omnishot_ray.api.watch import Watch
from omnishot_ray.telemetry.config import LogConfig
from omnishot_ray.telemetry.logs import configure_logs

_REQUESTS = 20_000
_ROUNDS = 15
_TIMING = b"queue;dur=0.00, decode;dur=1.20, transform;dur=0.80, encode;dur=2.10, cache;dur=0.00"
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"image/jpeg"), (b"server-timing", _TIMING)],
}
_BODY = {"type": "http.response.body", "body": b""}


async def answer(_scope, _receive, send) -> None:
    """Says what `Server-Timing` of a rendition says."""
    await send(_START)
    await send(_BODY)


async def _ignore(_message) -> None:
    return None


def _us_per_request(app) -> float:
    async def run() -> float:
        began = process_time()
        for _ in range(_REQUESTS):
            scope = {
                "type": "http",
                "method": "POST",
                "path": "/api/optimize",
                "state": {"request_id": "0f8fad5bd9cb469fa16570867728950e"},
            }
            await app(scope, None, _ignore)
        return (process_time() - began) / _REQUESTS * 1e6

    return asyncio.run(run())


def main() -> None:
    quiet = {
        "nothing drawn": LogConfig(slow_ms=60_000.0),
        "1 % drawn": LogConfig(slow_ms=60_000.0, sample=0.01),
    }
    plain: list[float] = []
    extra: dict[str, list[float]] = {name: [] for name in quiet}
    for _ in range(_ROUNDS):
        plain.append(_us_per_request(answer))
        for name, config in quiet.items():
            watched = Watch(answer, config, {"/api/optimize"})
            extra[name].append(_us_per_request(watched) - plain[-1])
    print(f"an application that answers at once: {statistics.median(plain):.2f} us")
    for name, took in extra.items():
        print(f"watched, {name}: +{statistics.median(took):.2f} us (min {min(took):.2f})")
    for form in ("json", "text"):
        print(f"one line, {form}: {_us_per_line(form):.1f} us")


def _us_per_line(form: str) -> float:
    logger = logging.getLogger("omnishot_ray.benchmarks")
    with tempfile.TemporaryDirectory() as folder:
        configure_logs(
            LogConfig(format=form, file=str(Path(folder, "log"))), f"bench-{os.getpid()}"
        )
        told = {"route": "/api/optimize", "status": 200, "took_ms": 1200.5, "reason": "encode"}
        rounds = []
        for _ in range(5):
            began = process_time()
            for _ in range(2000):
                logger.warning("slow request: writing renditions", extra=told)
            rounds.append((process_time() - began) / 2000 * 1e6)
    return min(rounds)


if __name__ == "__main__":
    main()
