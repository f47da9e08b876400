"""The Resizer and the local optimizer turn tasks into outcomes."""

import pytest

from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.errors import CorruptImage, OmnishotError
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import Result
from omnishot_ray.protocol import ImageTask
from omnishot_ray.serving.resizer import Resizer
from tests import corpus
from tests.pictures import encode, exif_entry, png, scene

pytestmark = pytest.mark.anyio

ARTIST = 0x013B


def task(data: bytes, **options: object) -> ImageTask:
    return ImageTask(data, (Options(**options),), "a-request")  # type: ignore[arg-type]


async def test_outcomes_come_in_the_order_of_the_batch() -> None:
    batch = [task(png(4, 4), name=name) for name in "abc"]
    outcomes = await Resizer(Limits()).process(batch)
    assert [one.renditions[0].name for one in outcomes if isinstance(one, Result)] == [*"abc"]


async def test_a_failure_is_a_value() -> None:
    batch = [task(png(4, 4)), task(corpus.read("truncated_640x480")), task(png(4, 4))]
    good, bad, good_too = await Resizer(Limits()).process(batch)
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
    good, _, good_too = await Resizer(Limits()).process([task(png(4, 4)), odd, task(png(4, 4))])
    assert isinstance(good, Result)
    assert isinstance(good_too, Result)


async def test_the_resizer_answers_pings() -> None:
    assert await Resizer(Limits()).ping() == "ok"


async def test_the_local_optimizer_does_the_same_work() -> None:
    optimizer = LocalOptimizer(Limits())
    assert isinstance(await optimizer.optimize(task(png(4, 4))), Result)
    assert isinstance(await optimizer.optimize(task(b"")), OmnishotError)
    assert await optimizer.check_ready() == {"engine": "ok"}
