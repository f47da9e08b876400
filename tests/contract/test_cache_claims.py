"""Claims among real processes: by file locks on one node, by Redis among nodes."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from omnishot_ray.cache import node_claims
from omnishot_ray.cache.breaker import Breaker
from omnishot_ray.cache.flight import ChainedClaims, Claims
from omnishot_ray.cache.node_claims import NodeClaims
from omnishot_ray.cache.shared import connect
from omnishot_ray.cache.shared_claims import RedisClaims
from tests.cached import key, until
from tests.redis_server import RedisServer, running_redis

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture(params=["node", "redis", "chained"])
async def claims(
    request: pytest.FixtureRequest, server: RedisServer, tmp_path: Path
) -> AsyncIterator[Claims]:
    client = connect(server.url, 5)
    await client.flushall()
    node = NodeClaims(tmp_path / "node")
    far = RedisClaims(client, Breaker("Redis"), 5, 1 << 20)
    made: dict[str, Claims] = {"node": node, "redis": far, "chained": ChainedClaims(node, far)}
    yield made[request.param]
    await node.close()
    await client.aclose(close_connection_pool=True)


def soon(seconds: float = 10) -> float:
    return time.monotonic() + seconds


async def test_first_leads_and_hands_over(claims: Claims) -> None:
    leader = await claims.claim(key())
    follower = await claims.claim(key())
    other = await claims.claim(key(2))
    assert (leader.leads, follower.leads, other.leads) == (True, False, True)
    waiting = asyncio.create_task(follower.wait(soon()))
    await leader.publish(b"made")
    await leader.release()
    assert await waiting == b"made"
    assert not follower.leads
    await follower.release()
    await other.release()
    late = await claims.claim(key())
    assert not late.leads
    assert await late.wait(soon()) == b"made"
    await late.release()


async def test_who_waits_leads_after_a_leader_without_result(claims: Claims) -> None:
    leader = await claims.claim(key())
    followers = [await claims.claim(key()) for _ in range(3)]
    waiting = [asyncio.create_task(follower.wait(soon())) for follower in followers]
    await leader.release()
    await until(lambda: any(follower.leads for follower in followers))
    await until(lambda: any(task.done() for task in waiting))
    (new,) = [follower for follower in followers if follower.leads]
    assert [task.result() for task in waiting if task.done()] == [None]
    await new.publish(b"made")
    await new.release()
    outcomes = await asyncio.gather(*waiting)
    assert sorted(outcomes, key=str) == [b"made", b"made", None] or outcomes.count(b"made") == 2


async def test_waiting_ends_at_the_deadline(claims: Claims) -> None:
    leader = await claims.claim(key())
    follower = await claims.claim(key())
    assert await follower.wait(soon(0.02)) is None
    assert not follower.leads
    await follower.release()
    assert not (await claims.claim(key())).leads, "a follower's release frees nothing"
    await leader.release()
    await leader.release()
    again = await claims.claim(key())
    assert again.leads
    await again.release()


async def test_forgotten_results_are_not_handed_over(claims: Claims) -> None:
    leader = await claims.claim(key())
    await leader.publish(b"made")
    await leader.release()
    await claims.forget(f"{2:064x}")
    assert not (await claims.claim(key())).leads
    await claims.forget(f"{1:064x}")
    again = await claims.claim(key())
    assert again.leads
    await again.release()


async def test_node_claims_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_claims, "_DONE_S", 0.02)
    claims = NodeClaims(tmp_path / "node")
    folder = tmp_path / "node" / "claims"
    for number in range(10):
        claim = await claims.claim(key(number))
        await claim.publish(b"made")
        await claim.release()
    assert len(os.listdir(folder)) == 11
    await until(lambda: os.listdir(folder) == ["locks"])
    assert (await claims.claim(key())).leads
    await claims.close()


async def test_node_claims_are_bounded(tmp_path: Path) -> None:
    claims = NodeClaims(tmp_path / "node", max_bytes=1000)
    folder = tmp_path / "node" / "claims"
    for number, size in enumerate([400, 400, 400, 1001]):
        claim = await claims.claim(key(number))
        await claim.publish(bytes(size))
        await claim.release()
    assert sorted(os.listdir(folder)) == [f"{key(1)}.done", f"{key(2)}.done", "locks"]
    await claims.close()
    assert os.listdir(folder) == ["locks"]


async def test_node_dir_is_private(tmp_path: Path) -> None:
    claims = NodeClaims(tmp_path / "a" / "node")
    for folder in (tmp_path / "a" / "node", tmp_path / "a" / "node" / "claims"):
        assert folder.stat().st_mode & 0o777 == 0o700
    await claims.close()
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(PermissionError, match="open to no other"):
        NodeClaims(shared)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "a" / "node")
    with pytest.raises(NotADirectoryError):
        NodeClaims(link)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
async def test_node_dir_of_somebody_else_is_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir(mode=0o700)
    os.chown(foreign, 12345, -1)
    with pytest.raises(PermissionError, match="belong"):
        NodeClaims(foreign)


async def test_files_of_dead_processes_are_cleaned(tmp_path: Path) -> None:
    first = NodeClaims(tmp_path / "node")
    folder = tmp_path / "node" / "claims"
    for number, written_at in ((2, 1.0), (3, time.time())):
        path = folder / f"{key(number)}.done"
        path.write_bytes(b"old")
        os.utime(path, (written_at, written_at))
    assert (await first.claim(key(2))).leads, "a result of long ago is none"
    assert (await first.claim(key(3))).leads, "nor is a part of one"
    second = NodeClaims(tmp_path / "node")
    assert sorted(os.listdir(folder)) == [f"{key(3)}.done", "locks"]
    assert not (await second.claim(key(2))).leads
    await first.close()
    assert (await second.claim(key(2))).leads
    await second.close()


async def test_files_of_dead_processes_are_cleaned_while_others_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_claims, "_DONE_S", 0.02)
    monkeypatch.setattr(node_claims, "_LOOK_S", 0.02)
    claims = NodeClaims(tmp_path / "node")
    left = tmp_path / "node" / "claims" / f"{key(2)}.done"
    left.write_bytes(b"old")
    os.utime(left, (1, 1))
    claim = await claims.claim(key(1))
    await claim.publish(b"made")
    await claim.release()
    await until(lambda: not left.exists())
    await claims.close()


class Gateway:
    """A process of `claiming.py`."""

    def __init__(self, *args: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.contract.claiming", *map(str, args)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def say(self) -> None:
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(b"\n")
            self.process.stdin.flush()

    def hear(self) -> bytes:
        assert self.process.stdout
        return self.process.stdout.readline()

    def answers(self) -> list[Any]:
        found: list[Any] = orjson.loads(self.hear())
        return found

    def end(self) -> None:
        self.say()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@contextlib.contextmanager
def gateways(count: int, *args: object) -> Iterator[list[Gateway]]:
    started = [Gateway(*args) for _ in range(count)]
    try:
        for gateway in started:
            assert gateway.hear() == b"ready\n"
        for gateway in started:
            gateway.say()
        yield started
    finally:
        for gateway in started:
            gateway.end()


@pytest.fixture(params=["node", "nodes"])
def redis_url(request: pytest.FixtureRequest, server: RedisServer) -> list[str]:
    return [server.url] if request.param == "nodes" else []


async def flush(server: RedisServer) -> None:
    client = connect(server.url, 5)
    await client.flushall()
    await client.aclose(close_connection_pool=True)


async def test_processes_execute_once(
    tmp_path: Path, redis_url: list[str], server: RedisServer
) -> None:
    await flush(server)
    with gateways(3, tmp_path, 100, 0.2, *redis_url) as started:
        answers = [gateway.answers() for gateway in started]
    (pid,) = (tmp_path / "started").read_text().split()
    everything = [answer for of_one in answers for answer in of_one]
    assert len(everything) == 300
    assert {text for _, text in everything} == {f"made by {pid}"}
    ways = Counter(way for way, _ in everything)
    assert ways["miss"] == 1
    assert set(ways) <= {"miss", "joined", "hit-shared"}


async def test_leader_killed_in_the_middle(
    tmp_path: Path, redis_url: list[str], server: RedisServer
) -> None:
    await flush(server)
    started_by = tmp_path / "started"
    with gateways(3, tmp_path, 100, 0.5, *redis_url) as started:
        await until(lambda: started_by.exists() and started_by.read_text().endswith("\n"))
        first = int(started_by.read_text().split()[0])
        os.kill(first, signal.SIGKILL)
        answers = [
            answer
            for gateway in started
            if gateway.process.pid != first
            for answer in gateway.answers()
        ]
    pids = started_by.read_text().split()
    assert len(pids) == 2
    assert int(pids[0]) == first
    assert len(answers) == 200
    assert {text for _, text in answers} == {f"made by {pids[1]}"}
