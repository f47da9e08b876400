"""The photographs of the comparison, cut once from tests/data/ and kept in benchmarks/.cache/.

Run as a script it makes them and lists them.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
CACHE = ROOT / "benchmarks" / ".cache"

SHARP_BENCHMARK = "photo_sharp_benchmark_2725x2225.jpg"
# One detailed photograph for every square, so that the rows differ in size only. The tomatoes
# beside it are half out of focus: at 1600 px they take 0.8 bits a pixel, this one takes 1.5.
SQUARE_ORIGINAL = "photo_dog_4032x3024_exif6.jpg"
SIDES = (400, 800, 1600, 3200)


@dataclass(frozen=True)
class Photo:
    """A JPEG to send. A square tells the side of the crop that it was scaled from, up or down."""

    path: Path
    width: int
    height: int
    real_side: int | None = None

    @property
    def label(self) -> str:
        """The size as a row shows it, with the real one where it was scaled up."""
        if self.real_side is None:
            return f"{self.width}x{self.height}"
        if self.real_side < self.width:
            return f"{self.width} (upscaled from {self.real_side})"
        return str(self.width)


def prepare(data: Path = DATA, cache: Path = CACHE) -> dict[str, Photo]:
    """The photos by name: "sharp", "400" to "3200". FileNotFoundError without an original."""
    cache.mkdir(parents=True, exist_ok=True)
    (cache / ".gitignore").write_text("*\n")
    with Image.open(data / SHARP_BENCHMARK, formats=["JPEG"]) as picture:
        photos = {"sharp": Photo(data / SHARP_BENCHMARK, *picture.size)}
    original = data / SQUARE_ORIGINAL
    with Image.open(original, formats=["JPEG"]) as picture:
        real_side = min(picture.size)
    for side in SIDES:
        path = cache / f"{original.stem}_square_{side}.jpg"
        if not path.exists():
            cut_square(original, side, path)
        photos[str(side)] = Photo(path, side, side, real_side)
    return photos


def cut_square(original: Path, side: int, path: Path) -> None:
    """The upright original's middle square, scaled to `side`: JPEG q85 4:2:0 without metadata."""
    with Image.open(original, formats=["JPEG"]) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    square = ImageOps.fit(upright, (side, side), Image.Resampling.LANCZOS)
    square.info.clear()
    unfinished = path.with_suffix(f".{os.getpid()}")
    square.save(unfinished, "JPEG", quality=85, subsampling="4:2:0", optimize=True)
    unfinished.replace(path)


def with_comment(jpeg: bytes, comment: bytes) -> bytes:
    """The same picture with a JPEG comment after its first segment: other bytes, equal pixels."""
    if jpeg[:3] != b"\xff\xd8\xff":
        raise ValueError("not a JPEG")
    after_first = 4 + int.from_bytes(jpeg[4:6], "big")
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    return jpeg[:after_first] + segment + jpeg[after_first:]


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the photographs of the comparison.")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the originals")
    for name, photo in prepare(parser.parse_args().data).items():
        print(
            f"{name:>6}  {photo.label:<28} {photo.path.stat().st_size:>9,} bytes  {photo.path.name}"
        )


if __name__ == "__main__":
    main()
