"""The tasks that the estimate of the work is fitted and judged by, and what they really take."""

import io
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from omnishot_ray.errors import OmnishotError
from omnishot_ray.imaging import animation, info, pipeline
from omnishot_ray.imaging.animation import animated_format
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.header import Header, read_header
from omnishot_ray.imaging.info import describe
from omnishot_ray.imaging.limits import Limits, check_header
from omnishot_ray.imaging.options import Options, parse_options
from omnishot_ray.imaging.pipeline import Rendition, Timings, process

FOUR = ("instagram-post", "facebook-post", "x-post", "pinterest-pin")
_EFFORTS = {
    # One of each step; the last ones of AVIF only small.
    "jpeg": (0, 4, 6),
    "webp": (0, 1, 2, 3, 4, 5, 7),
    "avif": (0, 2, 3, 4),
    "png": (0, 2, 4, 5, 6, 7, 8, 9),
    "gif": (0, 4),
}
_LARGEST_MP = {"avif": 1.1, "gif": 4.0}
"""Of results: more takes too long to be measured often, and says nothing new."""


@dataclass(frozen=True)
class Task:
    """What is wanted of one picture; nothing stands for its description."""

    name: str
    wanted: tuple[Options, ...]


@dataclass(frozen=True)
class Run:
    """A task done once, in milliseconds of CPU: as a whole, and by stages.

    `pace` is what a piece of work that is always the same took before and after it, in the mean.
    """

    ms: float
    pace: float
    decode: float
    transform: float
    encode: float


@dataclass(frozen=True)
class Measured:
    """One task done on one file, in as many `passes` over all tasks.

    `ms` and `stages` (decode, transform and encode) are milliseconds of CPU where nothing slows it
    down, see `settled`; `sizes` are the bytes of the results.
    """

    file: str
    size_bytes: int
    header: Header
    task: Task
    sizes: tuple[int, ...]
    runs: tuple[Run, ...]
    passes: int = 1
    ms: float = 0.0
    stages: Mapping[str, float] = field(default_factory=dict)


def _one(name: str, **given: Any) -> Task:
    return Task(name, (parse_options({"effort": 4, **given}),))


def _stills() -> Iterator[Task]:
    yield Task("info", ())
    yield _one("64 thumbnail", width=64, height=64, gravity="center", format="jpeg")
    yield _one("200 square", width=200, height=200)
    yield _one("200", width=200, format="jpeg", effort=2)
    yield _one("source 400", width=400, format="source", animated=False)
    yield Task(
        "four platforms", tuple(parse_options({"platform": name, "quality": 85}) for name in FOUR)
    )
    yield Task(
        "three sizes", tuple(parse_options({"width": w, "format": "webp"}) for w in (160, 480, 900))
    )
    for format, efforts in _EFFORTS.items():
        for effort in efforts:
            yield _one(f"{format} 400 effort {effort}", width=400, format=format, effort=effort)
        yield _one(f"{format} 120", width=120, format=format)
        yield _one(f"{format} 1080 box", width=1080, height=1080, fit="inside", format=format)
        yield _one(f"{format} full", format=format)
    for effort in (6, 8):
        yield _one(f"avif 150 effort {effort}", width=150, format="avif", effort=effort)
    for format, low, high in (("jpeg", 40, 95), ("webp", 40, 95), ("avif", 35, 85)):
        for quality in (low, high):
            yield _one(f"{format} quality {quality}", width=600, format=format, quality=quality)
        yield _one(f"{format} quality auto", width=300, format=format, quality="auto")
        yield _one(f"{format} max_bytes", width=300, format=format, max_bytes=6000)
    yield _one("png max_bytes", width=150, format="png", max_bytes=6000)
    yield _one("png palette", width=300, format="png", palette=True)
    yield _one("png palette large", width=900, format="png", palette=True)
    for effort in (0, 2, 4, 6, 9):
        yield _one(
            f"webp lossless {effort}", width=400, format="webp", lossless=True, effort=effort
        )
    plain: dict[str, Any] = {"width": 800, "format": "jpeg", "effort": 0}
    yield _one("blur", **plain, blur=3)
    yield _one("sharpen", **plain, sharpen=1)
    yield _one("normalize", **plain, normalize=True)
    yield _one("grayscale", **{**plain, "effort": 4}, grayscale=True)
    yield _one("rotate", **plain, rotate=90)
    yield _one("trim", **plain, trim=10)
    yield _one("enlarge", **{**plain, "width": 1600}, enlarge=True)
    yield _one("contain blur", **plain, height=800, fit="contain", background="blur")
    yield _one("face", **{**plain, "width": 300}, height=300, gravity="face")
    yield _one("progressive", **{**plain, "effort": 2}, progressive=True)


def _moving() -> Iterator[Task]:
    for effort in (0, 2, 3, 4, 5, 6, 7):
        yield _one(f"film webp effort {effort}", width=200, format="webp", effort=effort)
    for effort in (0, 4):
        yield _one(f"film gif effort {effort}", width=200, format="gif", effort=effort)
    yield _one("film 100", width=100)
    yield _one("film full", format="webp")
    yield _one("film gif full", format="gif")
    yield _one("film source", width=150, format="source")
    yield _one("film webp lossless", width=150, format="webp", lossless=True)
    yield _one("film webp max_bytes", width=150, format="webp", max_bytes=8000)


STILLS, MOVING = tuple(_stills()), tuple(_moving())


def tasks_for(file: str, header: Header) -> Iterator[Task]:
    """All that are measured with a picture; those too slow for it are left out."""
    moving = MOVING if header.frames > 1 else ()
    for task in moving if file.startswith(PANNED) else (*STILLS, *moving):
        width, height = header.width, header.height
        wanted = [
            options
            for options in task.wanted
            if not options.width and width * height * 1e-6 > _LARGEST_MP.get(options.format, 1e9)
        ]
        if not wanted:
            yield task


def read_corpus(folder: Path) -> Iterator[tuple[str, bytes, Header]]:
    """Name, bytes and header of every picture of the corpus that is accepted."""
    paths = sorted((*folder.glob("*.*"), *(folder / "valid").glob("*.*")))
    files = [(path.name, path.read_bytes()) for path in paths]
    for name, data in (*files, *_pan(files)):
        try:
            header = read_header(data)
            check_header(header, Limits())
        except OmnishotError:
            continue
        yield name, data, header


def _pan(files: Sequence[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Animations in which every pixel changes, of which corpora have none: a photo panned over."""
    photo = next(data for name, data in files if name == _PANNED_OVER)
    with Image.open(io.BytesIO(photo)) as image:
        frames = [image.crop((x, 40, x + 320, 280)) for x in range(0, 120, 10)]
    for format in (Format.GIF, Format.WEBP):
        sink = io.BytesIO()
        frames[0].save(
            sink, format.plugin, save_all=True, append_images=frames[1:], duration=80, loop=0
        )
        yield f"{PANNED}.{format}", sink.getvalue()


PANNED = "panned_flower_480"
_PANNED_OVER = "photo_flower_480x360.jpg"


def measure(file: str, data: bytes, header: Header, task: Task) -> Measured | None:
    """Do a task several times, oftener when it is short or the machine is busy.

    None when it cannot be done.
    """
    sizes: tuple[int, ...] = ()
    runs: list[Run] = []
    before = _pace()
    while not _are_enough(runs):
        done = _run(data, task)
        if done is None:
            return None
        ms, stages, sizes = done
        after = _pace()
        pace = (before + after) / 2
        runs.append(Run(ms, pace, stages.decode, stages.transform, stages.encode))
        before = after
    return Measured(file, len(data), header, task, sizes, tuple(runs))


def _are_enough(runs: Sequence[Run]) -> bool:
    spent = sum(run.ms for run in runs)
    steady = sum(run.pace < _STEADY * min(_paces) for run in runs)
    if len(runs) > 2 and spent > _LEAST_MS and (steady > 1 or spent > _PATIENT_MS):
        return True
    return spent > _MOST_MS


_LEAST_MS, _PATIENT_MS, _MOST_MS = 15.0, 60.0, 150.0
_STEADY = 1.08
"""A neighbour on the same silicon slows a core down by 1.4 for a while, which shows in its CPU time
but not in the load of the machine."""
_ALWAYS_THE_SAME = np.random.default_rng(1).normal(128, 20, 20_000).astype(np.uint8).tobytes()
_paces: list[float] = []


def _pace() -> float:
    started = time.process_time()
    zlib.compress(_ALWAYS_THE_SAME)
    _paces.append((time.process_time() - started) * 1000)
    return _paces[-1]


def merged(one: Measured, other: Measured) -> Measured:
    """Two passes over a task as one."""
    return replace(one, runs=one.runs + other.runs, passes=one.passes + other.passes)


def settled(rows: Sequence[Measured]) -> list[Measured]:
    """With the `ms` and `stages` of one run each, as if the machine were always at its best.

    Of the runs, each shortened by as much as the machine was slower, the one that a third is below:
    the first is often slower than the others, and the fastest may have been lucky.
    """
    best = float(np.percentile([run.pace for row in rows for run in row.runs], _BEST_PERCENT))
    return [_settled(row, best) for row in rows]


_BEST_PERCENT = 5
_SLOWEST = 1.6
"""What is slower was interrupted while it was measured how slow it is."""
_FOLLOWS = 0.8
"""Tasks follow the pace less than the piece of work that it is measured by: as its power."""


def _settled(row: Measured, best: float) -> Measured:
    shortened = sorted(
        (run.ms * max(best / run.pace, 1 / _SLOWEST) ** _FOLLOWS, index)
        for index, run in enumerate(row.runs)
    )
    ms, index = shortened[(len(shortened) - 1) // 3]
    run = row.runs[index]
    stages = {name: getattr(run, name) * ms / run.ms for name in ("decode", "transform", "encode")}
    return replace(row, ms=ms, stages=stages)


def _run(data: bytes, task: Task) -> tuple[float, Timings, tuple[int, ...]] | None:
    started = time.process_time()
    try:
        if not task.wanted:
            described = describe(data, Limits())
            return (time.process_time() - started) * 1000, described.timings, ()
        result = process(data, task.wanted, Limits())
    except OmnishotError:
        return None
    ms = (time.process_time() - started) * 1000
    made = [one for one in result.renditions if isinstance(one, Rendition)]
    if len(made) < len(task.wanted):
        return None
    return ms, result.timings, tuple(len(one.data) for one in made)


def clock_cpu() -> None:
    """Let the engine's stages count CPU, as others may be busy on the machine."""
    for module in (pipeline, animation, info):
        vars(module)["perf_counter"] = time.process_time


def format_of(measured: Measured) -> str:
    """The format of the results, `film` before it when they move; `several` when they differ."""
    if not measured.task.wanted:
        return "info"
    names = {_format_of(options, measured.header) for options in measured.task.wanted}
    return names.pop() if len(names) == 1 else "several"


def _format_of(options: Options, header: Header) -> str:
    film = animated_format(options, header)
    if film:
        return f"film {film}"
    return str(pipeline.choose_format(options, header, header.alpha, (1, 1)))
