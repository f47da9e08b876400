"""What people want to keep of the labelled pictures, and whether a crop keeps it.

`tests/data/subjects.csv` holds a box for each subject, in fractions of the upright picture: the
whole head of a person or an animal that is a portrait, the whole animal, product or building, in a
landscape the place that one looks at. Where a crop can hold only a part, and one part matters most
(a koala's head, a dome), that part has a box of its own. The boxes were drawn before there was
anything to measure, and the split made, by turns over the pictures of a kind: on `tune`, weights
may be fitted; `held-out` is only measured. The pictures were scaled down to 480 pixels or less.

A picture's file lies in `tests/data`, or, where its licence does not allow that, in a folder that
is named when the benchmark is run.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omnishot_ray.imaging.decode import decode, open_source
from omnishot_ray.imaging.geometry import Box, Crop, Size, plan_rendition
from omnishot_ray.imaging.header import read_header
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.sight import Sight
from tests.corpus import DATA

RATIOS = {"1:1": (1, 1), "16:9": (16, 9), "9:16": (9, 16), "3:1": (3, 1)}
KEPT = 0.9
"""A crop keeps the subjects when it holds this share of what the best crop of its size holds: a
subject larger than the crop cannot be held whole. The boxes are drawn to about 3 % of a side."""
MOSTLY_KEPT = 0.75
"""A second, milder mark: at most a quarter is lost."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One picture. `boxes` are in fractions of the upright sides."""

    file: str
    kind: str
    split: str
    licence: str
    boxes: tuple[Box, ...]

    def path(self, folder: Path | None = None) -> Path | None:
        """Where the file is; None when it is not here."""
        places = [DATA / self.file] + ([folder / self.file] if folder else [])
        return next((place for place in places if place.exists()), None)


def _read_table() -> tuple[Labelled, ...]:
    rows: dict[str, list[dict[str, str]]] = {}
    with (DATA / "subjects.csv").open(newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table):
            rows.setdefault(row["file"], []).append(row)
    return tuple(
        Labelled(
            file=file,
            kind=found[0]["kind"],
            split=found[0]["split"],
            licence=found[0]["licence"],
            boxes=tuple(
                Box(*(float(row[side]) for side in ("left", "top", "right", "bottom")))
                for row in found
            ),
        )
        for file, found in rows.items()
    )


LABELLED = _read_table()


@dataclass(frozen=True, slots=True)
class Seen:
    """A labelled picture, decoded."""

    labelled: Labelled
    size: Size
    sight: Sight

    def crop(self, options: Options) -> Crop:
        """Where the engine crops it."""
        plan, _ = self.sight.aim(plan_rendition(self.size, options), self.size, options)
        return plan.crop

    def share_kept(self, crop: Crop) -> float:
        """What the crop holds of the subjects' area, of what the best crop of its size holds."""
        width, height = self.size
        boxes = [
            Box(left * width, top * height, right * width, bottom * height)
            for left, top, right, bottom in self.labelled.boxes
        ]
        best = max(
            _held(boxes, Crop(x, y, crop.width, crop.height))
            for x in _places(width - crop.width)
            for y in _places(height - crop.height)
        )
        return min(1.0, _held(boxes, crop) / best)


def see(labelled: Labelled, path: Path) -> Seen:
    """Decode a picture as the engine does, whole."""
    data = path.read_bytes()
    source = open_source(data, read_header(data))
    decoded = decode(source, Size(*source.image.size), effort=4)
    sight = Sight(decoded.image, source.orientation, source.icc_profile)
    return Seen(labelled, source.size, sight)


def cropping_options(size: Size, gravity: str) -> Iterator[tuple[str, Options]]:
    """The largest crop of each ratio that cuts something off."""
    for name, (wide, high) in RATIOS.items():
        asked = Options(wide * 500, high * 500, fit="cover", gravity=gravity, enlarge=True)
        crop = plan_rendition(size, asked).crop
        if crop.width < 0.98 * size.width or crop.height < 0.98 * size.height:
            yield name, asked


def _held(boxes: list[Box], crop: Crop) -> float:
    left, top, right, bottom = crop.box
    return sum(
        max(0.0, min(right, box.right) - max(left, box.left))
        * max(0.0, min(bottom, box.bottom) - max(top, box.top))
        for box in boxes
    )


def _places(free: int) -> Iterator[int]:
    steps = min(free, 200)
    return (round(free * step / steps) if steps else 0 for step in range(steps + 1))
