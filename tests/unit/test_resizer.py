"""The Resizer and the local optimizer turn tasks into outcomes."""

import subprocess
import sys
from time import perf_counter

import pytest

from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.errors import CorruptImage, OmnishotError
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import Result
from omnishot_ray.protocol import AnyOutcome, ImageTask
from omnishot_ray.serving.resizer import Resizer
from tests import corpus
from tests.pictures import encode, exif_entry, png, scene

pytestmark = pytest.mark.anyio

ARTIST = 0x013B


def task(data: bytes, **options: object) -> ImageTask:
    return ImageTask(data, (Options(**options),), "a-request")  # type: ignore[arg-type]


async def outcomes_of(*batch: ImageTask) -> list[AnyOutcome | None]:
    return await Resizer(Limits()).process(batch, [30.0] * len(batch))


async def test_outcomes_come_in_the_order_of_the_batch() -> None:
    batch = [task(png(4, 4), name=name) for name in "abc"]
    outcomes = await outcomes_of(*batch)
    assert [one.renditions[0].name for one in outcomes if isinstance(one, Result)] == [*"abc"]


async def test_a_failure_is_a_value() -> None:
    batch = [task(png(4, 4)), task(corpus.read("truncated_640x480")), task(png(4, 4))]
    good, bad, good_too = await outcomes_of(*batch)
    assert isinstance(good, Result)
    assert isinstance(bad, CorruptImage)
    assert isinstance(good_too, Result)


@pytest.mark.parametrize(
    "odd",
    [
        task(png(17_000, 2), format="webp"),
        task(encode(scene(8, 8), "JPEG", exif=exif_entry(ARTIST, 5, b"\1\2\3\4\5\6\7\0"))),
    ],
    ids=["too wide for webp", "an author that is a number"],
)
async def test_a_task_that_the_engine_stumbles_over_harms_no_other(odd: ImageTask) -> None:
    good, _, good_too = await outcomes_of(task(png(4, 4)), odd, task(png(4, 4)))
    assert isinstance(good, Result)
    assert isinstance(good_too, Result)


async def test_the_resizer_answers_pings() -> None:
    assert await Resizer(Limits()).ping() == "ok"


async def test_the_local_optimizer_does_the_same_work() -> None:
    optimizer = LocalOptimizer(Limits())
    assert isinstance(await optimizer.optimize(task(png(4, 4))), Result)
    assert isinstance(await optimizer.optimize(task(b"")), OmnishotError)
    assert await optimizer.check_ready() == {"engine": "ok"}


# Work that does not end. Each replica here is a process of its own, as it will not survive.

REPLICA = """
import asyncio, sys
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.serving.resizer import Resizer
from tests.timed import TimedTask


async def main():
    resizer = Resizer(Limits())
    {work}
    await asyncio.sleep(60)

asyncio.run(main())
"""


def run_replica(work: str) -> tuple[int, list[str], float]:
    """The exit code, the lines said, and the seconds it lived."""
    started = perf_counter()
    ended = subprocess.run(
        [sys.executable, "-c", REPLICA.replace("{work}", work)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return ended.returncode, ended.stdout.splitlines(), perf_counter() - started


def test_a_task_over_its_limit_ends_the_replica_and_harms_no_other() -> None:
    code, said, lived_s = run_replica(
        """
    batch = [TimedTask(0), TimedTask(60), TimedTask(0)]
    later = asyncio.create_task(resizer.process([TimedTask(0)], [9]))
    outcomes = await resizer.process(batch, [9, 0.3, 9])
    print([type(one).__name__ for one in outcomes])
    print([type(one).__name__ for one in await later])
    print([type(one).__name__ for one in await resizer.process([TimedTask(0)], [9])])
    print(await resizer.ping(), flush=True)
"""
    )
    assert said == [
        "['Result', 'TaskTimeout', 'NoneType']",
        "['Result']",
        "['NoneType']",
        "the replica is about to be replaced",
    ]
    assert code == 1
    assert lived_s < 30


def test_work_that_nobody_waits_for_ends_soon_and_takes_nobody_along() -> None:
    code, said, lived_s = run_replica(
        """
    unwanted = asyncio.create_task(resizer.process([TimedTask(60)], [50]))
    await asyncio.sleep(0.2)
    behind = asyncio.create_task(resizer.process([TimedTask(0)], [0.5]))
    gone = asyncio.create_task(resizer.process([TimedTask(60)], [50]))
    await asyncio.sleep(0.2)
    unwanted.cancel()
    gone.cancel()
    print([type(one).__name__ for one in await behind])
    print(await resizer.ping(), flush=True)
"""
    )
    assert said == ["['NoneType']", "the replica is about to be replaced"]
    assert code == 1
    assert lived_s < 30


def test_a_replica_lives_when_unwanted_work_is_done_soon() -> None:
    code, said, _ = run_replica(
        """
    unwanted = asyncio.create_task(resizer.process([TimedTask(0.5)], [50]))
    await asyncio.sleep(0.1)
    unwanted.cancel()
    print([type(one).__name__ for one in await resizer.process([TimedTask(0)], [0.2])])
    await asyncio.sleep(3)
    print("alive", flush=True)
    sys.exit(7)
"""
    )
    assert (code, said) == (7, ["['Result']", "alive"])


def test_a_replica_ends_though_native_code_keeps_the_interpreter_lock() -> None:
    code, said, lived_s = run_replica(
        "await resizer.process([TimedTask(60, keeps_lock=True)], [0.2])"
    )
    assert (code, said) == (1, [])
    assert lived_s < 30


def test_a_replica_that_keeps_its_limits_lives() -> None:
    code, said, _ = run_replica(
        """
    for _ in range(3):
        await resizer.process([TimedTask(0.01)], [0.5])
    await asyncio.sleep(2)
    print("alive", flush=True)
    sys.exit(7)
"""
    )
    assert (code, said) == (7, ["alive"])
