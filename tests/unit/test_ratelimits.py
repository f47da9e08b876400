"""Rate limits: what is let in, what is said of it, and what happens without the storage."""

import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnishot_ray.api import ratelimits
from omnishot_ray.api.config import parse_rate
from omnishot_ray.api.ratelimits import RateLimits, stand


class Clock:
    """A clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 6000.0
        monkeypatch.setattr(ratelimits, "time", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("600/minute", (600, 60)),
        ("1/second", (1, 1)),
        ("10/5 seconds", (10, 5)),
        ("20 / 2 hours", (20, 7200)),
        ("7/day", (7, 86400)),
    ],
)
def test_a_rate_is_read(text: str, rate: tuple[int, int]) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["", "600", "0/minute", "-1/minute", "1.5/minute", "5/0 seconds", "5/week", "٣/minute"]
)
def test_a_rate_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match="such as 600/minute"):
        parse_rate(text)


@pytest.mark.anyio
async def test_so_many_and_no_more(clock: Clock) -> None:
    limits = RateLimits(3, 60)
    taken = [await limits.take("a") for _ in range(5)]
    assert [one.admitted for one in taken if one] == [True, True, True, False, False]
    assert [one.remaining for one in taken if one] == [2, 1, 0, 0, 0]
    other = await limits.take("b")
    assert other
    assert other.remaining == 2


@pytest.mark.anyio
@pytest.mark.parametrize("asked_at", [0.0, 0.5, 12.25, 59.0])
@pytest.mark.parametrize("count", [1, 3, 10])
async def test_who_waits_as_long_as_told_is_let_in(
    clock: Clock, asked_at: float, count: int
) -> None:
    limits = RateLimits(count, 60)
    clock.now += asked_at
    for _ in range(5 * count):
        standing = await limits.take("a")
        assert standing
        if not standing.admitted:
            clock.now += standing.wait_s * 0.98
            early = await limits.take("a")
            assert early
            assert not early.admitted
            clock.now += early.wait_whole_s
            late = await limits.take("a")
            assert late
            assert late.admitted


@pytest.mark.anyio
async def test_a_new_window_does_not_let_all_in_at_once(clock: Clock) -> None:
    limits = RateLimits(10, 60)
    clock.now += 59.0
    for _ in range(10):
        await limits.take("a")
    clock.now += 2.0
    admitted = 0
    for _ in range(20):
        standing = await limits.take("a")
        admitted += bool(standing and standing.admitted)
    assert admitted <= 1


@given(
    st.booleans(),
    st.integers(1, 1000),
    st.integers(1, 86400),
    st.integers(0, 1000),
    st.floats(0, 1),
    st.integers(0, 1000),
)
def test_a_standing_is_always_sensible(
    admitted: bool, count: int, window_s: int, before: int, left: float, now: int
) -> None:
    counters = (before, left * window_s, now, (1 + left) * window_s)
    standing = stand(admitted, count, window_s, counters)
    assert 0 <= standing.remaining <= count
    assert 0 <= standing.wait_s <= 2 * window_s


@pytest.mark.anyio
async def test_the_number_of_callers_is_bounded(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ratelimits, "_MOST_CALLERS", 50)
    limits = RateLimits(3, 60)
    for number in range(500):
        await limits.take(f"address:{number}")
    assert len(limits._storage._counts) <= 100  # type: ignore[union-attr]


# Redis.


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server")
    path: Path = tmp_path_factory.mktemp("redis")
    address = path / "socket"
    server = subprocess.Popen(
        [program, "--port", "0", "--unixsocket", str(address), "--save", "", "--dir", str(path)],
        stdout=subprocess.DEVNULL,
    )
    try:
        yield f"unix://{address}"
    finally:
        server.terminate()
        server.wait(10)


@asynccontextmanager
async def limits_in(redis_url: str, count: int, window_s: int) -> AsyncIterator[RateLimits]:
    limits = RateLimits(count, window_s, redis_url)
    try:
        yield limits
    finally:
        await limits.close()


@pytest.mark.anyio
async def test_gateways_count_together_in_redis(redis_url: str) -> None:
    async with limits_in(redis_url, 4, 60) as one, limits_in(redis_url, 4, 60) as other:
        while await one.take("warm-up") is None:  # the server still starts
            await anyio.sleep(0.2)
        taken = [await limits.take("a") for limits in (one, other, one, other, one, other)]
    assert [standing.admitted for standing in taken if standing] == [True] * 4 + [False] * 2
    assert [standing.remaining for standing in taken if standing] == [3, 2, 1, 0, 0, 0]
    last = taken[-1]
    assert last
    assert 0 < last.wait_s <= 60.1


@pytest.mark.anyio
async def test_without_redis_everybody_is_let_in_and_counted() -> None:
    async with limits_in(f"redis://127.0.0.1:{free_port()}", 1, 60) as limits:
        assert [await limits.take("a") for _ in range(5)] == [None] * 5
        assert limits.unchecked == 5
        told = limits.describe_services()["rate-limits"]
        assert (told["status"], told["circuit"]) == ("down", "open")
    assert RateLimits(1, 60).describe_services() == {}


@pytest.mark.anyio
async def test_a_redis_that_says_nothing_is_not_waited_for() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        async with limits_in(url, 1, 60) as limits:
            with anyio.fail_after(2 * ratelimits._PATIENCE_S):
                for _ in range(100):
                    assert await limits.take("a") is None
    assert limits.unchecked == 100
