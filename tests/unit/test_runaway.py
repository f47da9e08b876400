"""Tasks that are said not to run away take what was estimated, within a bound, on any file."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from omnishot_ray.errors import OmnishotError
from omnishot_ray.imaging.cost import cannot_run_away, estimate_info_ms, estimate_ms
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.header import Header, read_header
from omnishot_ray.imaging.info import describe
from omnishot_ray.imaging.limits import Limits, check_header
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.pipeline import process
from tests import corpus
from tests.pictures import encode, noise, plain

JPEG = Header(Format.JPEG, 2000, 1500)
SMALL = Options(width=300, format="jpeg")


@pytest.mark.parametrize(
    "header",
    [
        JPEG,
        replace(JPEG, scans=10),
        Header(Format.PNG, 2000, 1500, alpha=True, channels=4),
        Header(Format.WEBP, 2000, 1500),
        Header(Format.WEBP, 2000, 1500, lossless=True),
    ],
)
@pytest.mark.parametrize(
    "wanted",
    [
        [],
        [SMALL],
        [SMALL, Options(width=1080, format="webp")],
        [replace(SMALL, quality="auto", max_bytes=5000)],
        [Options(width=300, format="avif")],
        [Options(width=300, format="png", effort=6)],
        [Options(width=300, format="webp", lossless=True, effort=1)],
    ],
)
def test_usual_tasks_cannot(header: Header, wanted: list[Options]) -> None:
    assert cannot_run_away(header, wanted)


@pytest.mark.parametrize(
    "header",
    [
        replace(JPEG, scans=17),
        replace(JPEG, width=8000, height=4000),
        Header(Format.PNG, 200, 200, frames=2),
        Header(Format.WEBP, 200, 200, frames=2),
        *(Header(format, 200, 200) for format in ("avif", "gif", "tiff", "bmp")),
    ],
)
def test_other_sources_might(header: Header) -> None:
    assert not cannot_run_away(header, [SMALL])
    assert not cannot_run_away(header, [])


@pytest.mark.parametrize(
    "wanted",
    [
        Options(width=1000, format="avif"),
        Options(width=300, format="avif", effort=6),
        Options(width=300, format="avif", quality="auto"),
        Options(width=300, format="avif", max_bytes=5000),
        Options(width=300, accept=(Format.AVIF,), max_bytes=5000),
        Options(width=300, format="gif"),
        Options(width=300, format="png", palette=True),
        Options(width=300, format="png", max_bytes=5000),
        Options(width=300, format="png", effort=9),
        Options(width=300, format="webp", effort=6),
        Options(width=300, format="webp", lossless=True),
        Options(width=1500, format="jpeg", quality="auto"),
        Options(width=1500, format="webp", max_bytes=5000),
        Options(width=8000, format="jpeg", enlarge=True),
    ],
)
def test_other_results_might(wanted: Options) -> None:
    assert not cannot_run_away(JPEG, [wanted])
    assert not cannot_run_away(JPEG, [SMALL, wanted])


def test_many_results_might_together() -> None:
    large = Options(format="jpeg")
    assert cannot_run_away(JPEG, [large] * 8)
    assert not cannot_run_away(JPEG, [large] * 9)


WANTED: tuple[tuple[Options, ...], ...] = (
    (),
    (Options(width=400, height=300, format="jpeg"),),
    (Options(width=300, format="webp", max_bytes=1500),),
    (Options(width=200, format="jpeg", quality="auto"),),
    (Options(width=200, format="avif", quality=100),),
    (Options(width=300, format="png", effort=6),),
    (Options(width=200, format="webp", lossless=True, effort=1),),
)
MADE = {
    "noise.png": encode(noise(1000, 700)),
    "noise.jpg": encode(noise(1000, 700), "JPEG", quality=98),
    "noise.webp": encode(noise(1000, 700), "WEBP", quality=98),
    "plain.png": encode(plain(3000, 3000)),
    "plain.webp": encode(plain(3000, 3000), "WEBP", lossless=True),
}


def _accepted(data: bytes) -> bool:
    try:
        check_header(read_header(data), Limits())
    except OmnishotError:
        return False
    return True


CORPUS = {picture.name: picture.data for picture in (*corpus.SMALL, *corpus.HOSTILE)}
SOURCES = {name: data for name, data in (CORPUS | MADE).items() if _accepted(data)}
TIMES, ADDED_MS = 16.0, 150.0
"""Twice what is promised and more, for slower and busier machines."""


@pytest.mark.parametrize("name", SOURCES)
def test_they_do_not(name: str) -> None:
    data = SOURCES[name]
    header = read_header(data)
    for wanted in WANTED:
        if cannot_run_away(header, wanted):
            took = _measure(data, wanted)
            estimated = estimate_ms(len(data), header, wanted) if wanted else 0.0
            estimated = estimated or estimate_info_ms(len(data), header)
            assert took < TIMES * estimated + ADDED_MS, wanted


def _measure(data: bytes, wanted: Sequence[Options]) -> float:
    started = time.process_time()
    with contextlib.suppress(OmnishotError):
        process(data, wanted, Limits()) if wanted else describe(data, Limits())
    return (time.process_time() - started) * 1000
