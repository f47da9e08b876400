"""What one picture at a limit costs, below it and beyond: `python -m benchmarks.limits > FILE.md`.

For each limit of `imaging/limits.py` three pictures, the default among their values: what the task
takes in a fresh process where the limit lets it through, and how long it takes to refuse where the
limit is one less. What a task takes by `max_task_mb` is in `benchmarks/memory.py --outputs`.
"""

import io
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter, process_time
from unittest.mock import patch

from PIL import Image

from benchmarks import machine, memory, rss
from benchmarks.peers import images
from omnishot_ray.errors import LimitExceeded
from omnishot_ray.imaging.allocation import MALLOC
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options, parse_options
from omnishot_ray.imaging.pipeline import FailedRendition, Rendition, process

PHOTO = images.DATA / "photo_tomatoes_2912x4368.jpg"
BOMB = images.DATA / "hostile" / "bomb_jpeg_progressive_4000x4000_4000scans.jpg"
_SOS, _EOI = b"\xff\xda", b"\xff\xd9"
_REFUSALS = 20


@dataclass(frozen=True)
class Row:
    """A picture that has `value` of what a limit counts, and what is made of it."""

    limit: str
    value: int
    what: str
    wanted: Options
    make: Callable[[], bytes]


@dataclass(frozen=True)
class Taken:
    """Milliseconds of CPU and megabytes (10⁶) beyond the engine at rest; milliseconds to refuse."""

    cpu_ms: float
    memory_mb: float
    refused_ms: float


def rows() -> Iterator[Row]:
    small = parse_options({"width": 400, "format": "jpeg"})
    for width, height in ((4330, 2887), (8660, 5773), (12247, 8165)):
        file = f"progressive JPEG {width}×{height} → 400"
        yield Row("max_pixels", width * height, file, small, partial(_jpeg, width, height))
    for side in (8192, 32768, 65000):
        height = 33_554_432 // side
        file = f"JPEG {side}×{height} → 400"
        yield Row("max_source_side", side, file, small, partial(_strip, side, height))
    moving = parse_options({"width": 160, "format": "webp"})
    for frames in (16, 64, 256):
        file = f"GIF 320×240 in {frames} frames → WebP 160"
        yield Row("max_frames", frames, file, moving, partial(_film, frames))
    for scans in (10, 100, 1000):
        file = f"JPEG 4000×4000 in {scans} scans → 400"
        yield Row("max_scans", scans, file, small, partial(_scans, scans))
    for side in (2048, 4096, 8192):
        large = parse_options({"width": side, "height": side, "enlarge": True, "format": "jpeg"})
        file = f"JPEG 1000×1000 → {side}×{side}"
        yield Row("max_output_side", side, file, large, partial(_strip, 1000, 1000))


def _jpeg(width: int, height: int) -> bytes:
    return memory.large("progressive.jpg", width, height).read_bytes()


def _strip(width: int, height: int) -> bytes:
    with Image.open(PHOTO, formats=["JPEG"]) as photo:
        return _saved(photo.convert("RGB").resize((width, height)), format="JPEG", quality=85)


def _film(count: int) -> bytes:
    with Image.open(PHOTO, formats=["JPEG"]) as photo:
        small = photo.convert("RGB").resize((728, 1092))
    frames = [small.crop((n, n, 320 + n, 240 + n)).quantize(64) for n in range(count)]
    return _saved(frames[0], format="GIF", save_all=True, append_images=frames[1:], duration=40)


def _scans(count: int) -> bytes:
    """The first ones of a picture that has thousands."""
    data = BOMB.read_bytes()
    at = -1
    for _ in range(count + 1):
        at = data.index(_SOS, at + 1)
    # What stands between two scans are tables for the next one.
    return data[:at] + _EOI


def _saved(picture: Image.Image, **settings: object) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, **settings)  # type: ignore[arg-type]
    return sink.getvalue()


def measure(row: Row) -> Taken:
    """Do the task in a fresh process, with the memory settings of a replica."""
    context = multiprocessing.get_context("spawn")
    with patch.dict("os.environ", MALLOC), context.Pool(1) as pool:
        return pool.apply(measure_here, (row.make(), row.wanted, row.limit, row.value))


def measure_here(data: bytes, wanted: Options, limit: str, value: int) -> Taken:
    """Do the task in this process, and refuse it."""
    beyond = Limits(10**9, 10**6, 10**6, 10**6, 10**5, 10**5)
    process(memory.tiny(data), [wanted], beyond)
    rest, started = rss.start_peak(), process_time()
    made = process(data, [wanted], beyond)
    cpu_ms, peak = (process_time() - started) * 1000, rss.peak_bytes() - rest
    refusing = replace(beyond, **{limit: value - 1})
    started = perf_counter()
    for _ in range(_REFUSALS):
        assert _is_refused(data, wanted, refusing), f"{limit} {value} lets it through"
    refused_ms = (perf_counter() - started) * 1000 / _REFUSALS
    assert isinstance(made.renditions[0], Rendition), made.renditions
    return Taken(cpu_ms, peak / 1e6, refused_ms)


def _is_refused(data: bytes, wanted: Options, limits: Limits) -> bool:
    try:
        (outcome,) = process(data, [wanted], limits).renditions
    except LimitExceeded:
        return True
    return isinstance(outcome, FailedRendition) and isinstance(outcome.error, LimitExceeded)


def main() -> int:
    print(machine.page_head("What a picture at a limit costs"))
    print("| limit | value | task | file kB | core-ms | task MB | refused in ms |")
    print("|---|---:|---|---:|---:|---:|---:|")
    for row in rows():
        taken = measure(row)
        kept = " (default)" if 0.99 < row.value / getattr(Limits(), row.limit) <= 1 else ""
        print(
            f"| `{row.limit}` | {row.value}{kept} | {row.what} | {len(row.make()) / 1e3:.0f} | "
            f"{taken.cpu_ms:.0f} | {taken.memory_mb:.0f} | {taken.refused_ms:.2f} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
