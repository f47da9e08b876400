"""Fits jpegli's quality to libjpeg's scale: 80 shall look like 80 elsewhere.

    python -m benchmarks.quality.fit [--corpus DIR] [--quick] [--page FILE]

Over the references it scores libjpeg-turbo, 4:2:0, at the asked qualities and jpegli along its own
scale (SSIMULACRA2), and reads off the quality of jpegli that has the same mean score. Prints the
table for `omnishot_ray/imaging/jpeg.py`; the page shows how far single pictures are from the mean.
"""

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, quantiles

import pyjpegli
from PIL import Image

from benchmarks.machine import page_head
from benchmarks.quality import references, scoring
from benchmarks.quality.environment import CACHE
from benchmarks.quality.references import Reference

ASKED = (10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95)
TRIED = (1, 2, 4, 7, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85, 88, 91, 94, 97)

Curve = dict[int, list[float]]
"""Scores of every reference, in their order, by quality."""


@dataclass(frozen=True)
class Knot:
    """One row of the table, and how sure it is."""

    asked: int
    score: float
    jpegli: float
    median: float
    spread: float
    left: float

    @property
    def rounded(self) -> int:
        """Jpegli's quality as the table has it."""
        return round(self.jpegli)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--corpus", type=Path, default=references.CORPUS, help="folder of originals"
    )
    parser.add_argument("--quick", action="store_true", help="three references only")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the Markdown page")
    given = parser.parse_args()
    names = references.NAMES[:3] if given.quick else references.NAMES
    try:
        pictures = references.prepare(given.corpus, names)
    except FileNotFoundError as error:
        sys.exit(str(error))
    head = page_head("jpegli's quality on libjpeg's scale")
    asked = measure(pictures, "turbo", write_turbo, ASKED)
    tried = measure(pictures, "jpegli", write_jpegli, TRIED)
    knots = fit(asked, tried)
    print(source(knots))
    if given.page:
        given.page.write_text(page(head, knots, pictures))


def write_turbo(picture: Image.Image, quality: int) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=quality, subsampling="4:2:0", optimize=True)
    return sink.getvalue()


def write_jpegli(picture: Image.Image, quality: int) -> bytes:
    data: bytes = pyjpegli.encode(picture.tobytes(), picture.width, picture.height, quality)
    return data


def measure(
    pictures: Sequence[Reference],
    name: str,
    write: Callable[[Image.Image, int], bytes],
    qualities: Sequence[int],
) -> Curve:
    """Scores of all pictures at all qualities."""
    folder = CACHE / "fit"
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for quality in qualities:
        for picture in pictures:
            path = folder / f"{picture.name}.{name}.{quality}.jpg"
            path.write_bytes(write(picture.image, quality))
            pairs.append((picture.path, path))
    scores = iter(scoring.score(pairs))
    return {quality: [next(scores) for _ in pictures] for quality in qualities}


def fit(asked: Curve, tried: Curve) -> list[Knot]:
    """For each asked quality the one of jpegli with the same mean score.

    A score outside of jpegli's curve leaves its quality out: nothing is extrapolated.
    """
    mean = [(quality, fmean(scores)) for quality, scores in tried.items()]
    singles = [
        [(quality, scores[number]) for quality, scores in tried.items()]
        for number in range(len(next(iter(tried.values()))))
    ]
    knots = []
    for quality, scores in asked.items():
        found = invert(mean, fmean(scores))
        own = [invert(curve, score) for curve, score in zip(singles, scores, strict=True)]
        known = [value for value in own if value is not None]
        if found is None or not known:
            continue
        left = value_at(mean, round(found)) - fmean(scores)
        low, middle, high = quantiles(known, n=4) if len(known) > 1 else known * 3
        knots.append(Knot(quality, fmean(scores), found, middle, (high - low) / 2, left))
    return knots


def invert(curve: Sequence[tuple[int, float]], score: float) -> float | None:
    """The quality at which the curve first comes up to `score`; None when it never does."""
    for (low, below), (high, above) in pairwise(curve):
        if below <= score <= above:
            return low + (high - low) * (score - below) / (above - below)
    return None


def value_at(curve: Sequence[tuple[int, float]], quality: float) -> float:
    """The curve's score at `quality`, straight between its points."""
    for (low, below), (high, above) in pairwise(curve):
        if low <= quality <= high:
            return below + (above - below) * (quality - low) / (high - low)
    raise ValueError(f"{quality} is outside of the curve")


def source(knots: Sequence[Knot]) -> str:
    """The table as Python source, with both ends of the scale."""
    pairs = [(1, 1), *((knot.asked, knot.rounded) for knot in knots), (100, 100)]
    return f"_JPEGLI_QUALITY = ({', '.join(map(str, pairs))})"


def page(head: str, knots: Sequence[Knot], pictures: Sequence[Reference]) -> str:
    """The Markdown page: the table, and what it leaves over."""
    rows = "\n".join(
        f"| {knot.asked} | {knot.score:.1f} | {knot.jpegli:.1f} | {knot.median:.0f} "
        f"| {knot.spread:.0f} | {knot.left:+.2f} |"
        for knot in knots
    )
    return f"""{head}
Mean SSIMULACRA2 over {len(pictures)} pictures of at most {references.SIDE} px; libjpeg-turbo 4:2:0
with its own Huffman tables against jpegli 4:2:0. "Median" and "spread" (half of the range between
the quartiles) are of the qualities that jpegli needs for single pictures; "left" is the mean score
of jpegli at the rounded quality minus libjpeg-turbo's.

| asked | mean score | jpegli | median | spread | left |
|---:|---:|---:|---:|---:|---:|
{rows}

```python
{source(knots)}
```

Pictures: {", ".join(picture.name for picture in pictures)}.
"""


if __name__ == "__main__":
    main()
