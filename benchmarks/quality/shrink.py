"""The whole way of a photo: 4000 px and more to 1000 px, JPEG at quality 80, scored.

The reference is the photo decoded whole and scaled by Lanczos, without loss. Decoding a JPEG at a
fraction of its size is what a server gains its speed by, and where a careless one loses sharpness.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.quality import references, scoring
from benchmarks.quality.encoders import run_sharp
from benchmarks.quality.environment import CACHE
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import parse_options
from omnishot_ray.imaging.pipeline import FailedRendition, process

PHOTOS = ("photo_dog_4032x3024_exif6.jpg", "photo_tomatoes_2912x4368.jpg")
QUALITY = 80
LEAST = 72.0
"""The goal for the mean; imgproxy is reported at 49.7."""


@dataclass(frozen=True)
class Shrunk:
    """One photo's scores."""

    photo: str
    ours: float
    sharp: float


def measure(corpus: Path) -> list[Shrunk]:
    """Both photos by our pipeline and by sharp.

    Raises:
        FileNotFoundError: a photo is missing.
    """
    pictures = references.prepare(corpus, PHOTOS)
    folder = CACHE / "shrunk"
    folder.mkdir(parents=True, exist_ok=True)
    tasks: list[dict[str, Any]] = []
    pairs = []
    for name, picture in zip(PHOTOS, pictures, strict=True):
        original = references.find(corpus, name)
        assert original is not None
        ours, sharp = folder / f"{picture.name}.ours.jpg", folder / f"{picture.name}.sharp.jpg"
        ours.write_bytes(shrink(original.read_bytes()))
        tasks.append(
            {
                "reference": str(original),
                "shrink": references.SIDE,
                "method": "jpeg",
                "options": {"quality": QUALITY},
                "rounds": 1,
                "path": str(sharp),
            }
        )
        pairs += [(picture.path, ours), (picture.path, sharp)]
    run_sharp(tasks)
    scores = iter(scoring.score(pairs))
    return [Shrunk(picture.name, next(scores), next(scores)) for picture in pictures]


def verdict(rows: Sequence[Shrunk]) -> str:
    """Pass or fail, by the mean."""
    return "pass" if fmean(row.ours for row in rows) >= LEAST else "fail"


def shrink(photo: bytes) -> bytes:
    """Our rendition that fits the square of the reference."""
    side = references.SIDE
    asked = {"width": side, "height": side, "fit": "inside", "format": "jpeg", "quality": QUALITY}
    (made,) = process(photo, [parse_options(asked)], Limits()).renditions
    if isinstance(made, FailedRendition):
        raise made.error
    return made.data
