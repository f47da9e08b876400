"""Large originals go to a replica of the same node as files, and leave nothing behind."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import Result
from omnishot_ray.protocol import ImageTask
from omnishot_ray.serving.parcels import LEAST_BYTES, Hatch, Parcel, Undelivered
from omnishot_ray.serving.resizer import Resizer
from tests.pictures import png

SMALL = ImageTask(png(4, 4), (Options(),), "a-request")
# What comes behind the end of a PNG is not read.
LARGE = replace(SMALL, data=SMALL.data + bytes(LEAST_BYTES))


def files(folder: Path) -> list[Path]:
    return list((folder / "parcels").iterdir())


def test_large_tasks_are_packed_small_ones_are_not(tmp_path: Path) -> None:
    hatch = Hatch(tmp_path)
    small, packed = hatch.pack([SMALL, LARGE])
    assert small is SMALL
    assert isinstance(packed, Parcel)
    assert packed.task.data == b""
    assert packed.open() == LARGE
    hatch.discard([small, packed])
    assert files(tmp_path) == []
    assert packed.open() is None


def test_what_a_killed_gateway_left_is_swept(tmp_path: Path) -> None:
    (packed,) = Hatch(tmp_path).pack([LARGE])
    assert isinstance(packed, Parcel)
    Hatch(tmp_path)
    assert len(files(tmp_path)) == 1
    os.utime(packed.path, (time.time() - 3600,) * 2)
    Hatch(tmp_path)
    assert files(tmp_path) == []


def test_where_files_cannot_be_written_large_tasks_go_by_value(tmp_path: Path) -> None:
    hatch = Hatch(tmp_path)
    (tmp_path / "parcels").rmdir()
    assert hatch.pack([LARGE]) == [LARGE]
    (tmp_path / "a file").touch()
    assert Hatch(tmp_path / "a file").pack([LARGE]) == [LARGE]


@pytest.mark.anyio
async def test_the_resizer_opens_parcels_and_says_which_it_cannot(tmp_path: Path) -> None:
    (there,) = Hatch(tmp_path).pack([LARGE])
    lost = Parcel(there.task, "/nowhere") if isinstance(there, Parcel) else None
    assert lost
    made = await Resizer(Limits()).process([there, lost, SMALL], [30.0] * 3)
    assert isinstance(made[0], Result)
    assert isinstance(made[1], Undelivered)
    assert isinstance(made[2], Result)
    assert made[0].renditions[0] == made[2].renditions[0]
