"""What one task takes of memory beyond the engine at rest.

    python -m benchmarks.memory [--only WORD] [--outputs] > FILE.md

Every row in a fresh process: the engine imported, one tiny picture made by the same options (which
loads the codecs), the file read; then the task once, and the most that was resident meanwhile. The
rows are those of benchmarks/engine.py and three large or animated sources. Beside it what the
decoded source takes at the scale used, in the four bytes that Pillow stores a pixel in,
all frames of it. `--outputs` measures what a rendition takes for each of its pixels, by format,
which `omnishot_ray/imaging/limits.py` goes by.
"""

import argparse
import io
import multiprocessing
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pillow_avif  # noqa: F401 - registers AVIF with Pillow
from PIL import Image

from benchmarks import engine, machine, rss
from benchmarks.peers import images
from omnishot_ray.imaging import pipeline
from omnishot_ray.imaging.header import read_header
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options, parse_options
from omnishot_ray.imaging.png import write_png


@dataclass(frozen=True)
class Row:
    """A file and what is wanted of it."""

    name: str
    path: Path
    wanted: tuple[Options, ...]


@dataclass(frozen=True)
class Taken:
    """Megabytes (10⁶): the engine at rest, the most beyond it, and the decoded source."""

    rest: float
    peak: float
    source: float

    @property
    def ratio(self) -> float:
        """Peak by decoded source."""
        return self.peak / self.source


def rows() -> list[Row]:
    photos = engine.prepare()
    whole = photos["sharp"]
    valid = images.DATA / "valid"
    return [
        *(
            Row(task.name, photos[task.photo], task.wanted)
            for task in engine.tasks()
            if not task.name.endswith("mozjpeg")
        ),
        Row("50 MP JPEG→400", large("jpg", 8660, 5773), _one(width=400, format="jpeg")),
        Row(
            "50 MP JPEG, progressive→400",
            large("progressive.jpg", 8660, 5773),
            _one(width=400, format="jpeg"),
        ),
        Row("24 MP PNG→1000 JPEG", large("png", 6000, 4000), _one(width=1000, format="jpeg")),
        Row("24 MP PNG→1000 PNG", large("png", 6000, 4000), _one(width=1000, format="png")),
        Row("24 MP PNG, 16-bit grey→1000", large("gray16.png", 6000, 4000), _one(width=1000)),
        Row("12 MP WebP→1000", large("webp", 4000, 3000), _one(width=1000)),
        Row("12 MP AVIF→1000", large("avif", 4000, 3000), _one(width=1000)),
        Row("12 MP TIFF→1000", large("tiff", 4000, 3000), _one(width=1000)),
        *(Row(f"2725×2225→{name}", whole, _one(**given)) for name, given in FULL_SIZE.items()),
        Row("GIF 320×240→160", valid / "gif_animated_chi_320x240.gif", _one(width=160)),
        Row("WebP 370×285→160", valid / "webp_animated_loop3_370x285.webp", _one(width=160)),
    ]


FULL_SIZE: dict[str, dict[str, object]] = {
    "JPEG": {"format": "jpeg"},
    "JPEG, effort 9": {"format": "jpeg", "effort": 9},
    "JPEG, quality=auto": {"format": "jpeg", "quality": "auto"},
    "PNG": {"format": "png"},
    "PNG, effort 6": {"format": "png", "effort": 6},
    "PNG, palette": {"format": "png", "palette": True},
    "WebP": {"format": "webp"},
    "AVIF, effort 0": {"format": "avif", "effort": 0},
    "GIF": {"format": "gif"},
    "blurred and sharpened": {"format": "jpeg", "blur": 3, "sharpen": 1, "normalize": True},
}
"""As large as the source: where the encoders and filters take their most."""


def large(kind: str, width: int, height: int) -> Path:
    """A large photo, made once and kept in the cache."""
    path = images.CACHE / f"tomatoes_{width}x{height}.{kind}"
    if not path.exists():
        with Image.open(images.DATA / "photo_tomatoes_2912x4368.jpg", formats=["JPEG"]) as photo:
            enlarged = photo.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
        if kind == "png":
            path.write_bytes(write_png(np.asarray(enlarged), 0))
        elif kind == "gray16.png":
            enlarged.convert("I;16").save(path, "PNG", compress_level=1)
        else:
            enlarged.save(path, **SETTINGS[kind])
    return path


SETTINGS: dict[str, dict[str, Any]] = {
    "jpg": {"quality": 85},
    "progressive.jpg": {"quality": 85, "progressive": True},
    "webp": {"quality": 80, "method": 0},
    "avif": {"quality": 60, "speed": 10},
    "tiff": {"compression": "tiff_lzw"},
}


def _one(**given: object) -> tuple[Options, ...]:
    return (parse_options(given),)


def measure(row: Row) -> Taken:
    """Do the task in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure_here, (row.path.read_bytes(), row.wanted))


def measure_here(data: bytes, wanted: tuple[Options, ...]) -> Taken:
    """Do the task in this process."""
    pipeline.process(tiny(data), wanted, Limits())
    rest = rss.start_peak()
    pipeline.process(data, wanted, Limits())
    peak = rss.peak_bytes() - rest
    return Taken(rest / 1e6, peak / 1e6, _decoded_bytes(data, wanted) / 1e6)


def tiny(data: bytes) -> bytes:
    """One of the same format that goes the same way."""
    with Image.open(io.BytesIO(data)) as source:
        sink = io.BytesIO()
        Image.new("RGB", (16, 16)).save(sink, source.format or "PNG")
        return sink.getvalue()


def _decoded_bytes(data: bytes, wanted: tuple[Options, ...]) -> int:
    """What the pipeline decodes, seen while it does the task once more."""
    seen = []
    decode: Any = pipeline.decode

    def watch(*arguments: Any, **named: Any) -> Any:
        decoded = decode(*arguments, **named)
        seen.append(4 * decoded.image.width * decoded.image.height)
        return decoded

    pipeline.decode = watch
    try:
        pipeline.process(data, wanted, Limits())
    finally:
        pipeline.decode = decode
    return sum(seen) * read_header(data).frames


OUTPUT_SIZE = (3000, 2250)
OUTPUTS: tuple[dict[str, object], ...] = (
    *({"format": "jpeg", "effort": effort} for effort in (2, 4, 9)),
    {"format": "jpeg", "quality": "auto"},
    {"format": "jpeg", "blur": 20.0, "sharpen": 1.0, "normalize": True, "rotate": 90},
    {"format": "gif"},
    *({"format": "png", "effort": effort} for effort in (2, 6)),
    {"format": "png", "palette": True},
    *({"format": "webp", "effort": effort} for effort in (0, 4)),
    {"format": "webp", "effort": 0, "lossless": True},
    *({"format": "avif", "effort": effort} for effort in (0, 4)),
    {"format": "avif", "effort": 0, "quality": "auto"},
)


def _output_source(kind: str) -> Path:
    """As large as the renditions: a photo or noise, with noise for alpha or without."""
    path = images.CACHE / f"outputs_{kind.replace(' ', '_')}.png"
    if not path.exists():
        width, height = OUTPUT_SIZE
        noise = np.random.default_rng(1).integers(0, 256, (height, width, 4), np.uint8)
        if kind.startswith("photo"):
            with Image.open(
                images.DATA / "photo_tomatoes_2912x4368.jpg", formats=["JPEG"]
            ) as photo:
                noise[..., :3] = np.asarray(photo.convert("RGB").resize(OUTPUT_SIZE))
        path.write_bytes(write_png(noise if kind.endswith("alpha") else noise[..., :3], 0))
    return path


def print_outputs() -> None:
    """Bytes of a pixel of the rendition: beyond the source, and its own four, which it shares."""
    kinds = ("photo", "photo alpha", "noise", "noise alpha")
    print(f"| options | {' | '.join(kinds)} |\n|---|{'---:|' * len(kinds)}")
    for given in OUTPUTS:
        cells = []
        for kind in kinds:
            taken = measure(Row("", _output_source(kind), _one(**given)))
            cells.append(f"{taken.peak * 1e6 / OUTPUT_SIZE[0] / OUTPUT_SIZE[1]:.1f}")
        said = ", ".join(f"{name}={value}" for name, value in given.items())
        print(f"| {said} | {' | '.join(cells)} |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="the rows with this in their name")
    parser.add_argument("--outputs", action="store_true")
    given = parser.parse_args()
    if given.outputs:
        print_outputs()
        return 0
    print(machine.page_head("Memory of one task"))
    print("| task | at rest MB | decoded source MB | task MB | ratio |\n|---|---:|---:|---:|---:|")
    for row in rows():
        if given.only in row.name:
            taken = measure(row)
            cells = f"{taken.rest:.0f} | {taken.source:.1f} | {taken.peak:.1f} | {taken.ratio:.1f}"
            print(f"| {row.name} | {cells} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
