"""What the tests of the cache share: keys, results, tasks and a clock moved by hand."""

import asyncio
from collections.abc import Callable
from time import monotonic

from omnishot_ray.errors import CorruptImage
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.geometry import Crop
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import FailedRendition, Rendition, Result, SourceInfo, Timings
from omnishot_ray.protocol import ImageTask

SOURCE = SourceInfo(800, 600, Format.PNG, 12_345)
TASK = ImageTask(b"", (Options(),), "a-request")
DEADLINE_S = 10.0


def key(source: int = 1, options: int = 1) -> str:
    return f"{source:064x}-{options:032x}"


def result(data: bytes = b"pixels", name: str = "default") -> Result:
    rendition = Rendition(name, data, 20, 10, Format.WEBP, Crop(1, 2, 40, 20), "face", 3)
    return Result(SOURCE, (rendition,), Timings())


def partial_result() -> Result:
    failed = FailedRendition("b", CorruptImage("It is broken."))
    return Result(SOURCE, (*result().renditions, failed))


class Clock:
    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


async def until(condition: Callable[[], object]) -> None:
    deadline = monotonic() + DEADLINE_S
    while not condition():
        assert monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.001)


async def settled() -> None:
    """Let everything that can run without news from outside run."""
    for _ in range(30):
        await asyncio.sleep(0)
