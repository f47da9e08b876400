"""The pictures of `tests/data`, as listed in its `corpus.csv`."""

import csv
from dataclasses import dataclass
from pathlib import Path

from omnishot_ray.imaging.formats import Format

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Picture:
    """One row of the table. `width` and `height` are pixels as stored, None where unknown."""

    file: str
    category: str
    width: int | None
    height: int | None
    mode: str
    claims: str
    """What the file is or says it is, in Pillow's words."""
    licence: str

    @property
    def name(self) -> str:
        return Path(self.file).stem

    @property
    def data(self) -> bytes:
        return (DATA / self.file).read_bytes()

    @property
    def format(self) -> Format:
        return Format.JPEG if self.claims == "MPO" else Format(self.claims.lower())


def _read_table() -> tuple[Picture, ...]:
    with (DATA / "corpus.csv").open(newline="", encoding="utf-8") as table:
        return tuple(
            Picture(
                file=row["file"],
                category=row["category"],
                width=int(row["width"]) if row["width"] else None,
                height=int(row["height"]) if row["height"] else None,
                mode=row["mode"],
                claims=row["format"],
                licence=row["license_note"],
            )
            for row in csv.DictReader(table)
        )


PICTURES = _read_table()
HOSTILE = tuple(picture for picture in PICTURES if picture.file.startswith("hostile/"))
REFUSED = tuple(picture for picture in PICTURES if picture.category.startswith("reject-"))
"""Fine files of a kind that is not accepted."""
VALID = tuple(picture for picture in PICTURES if picture not in HOSTILE + REFUSED)
SMALL = tuple(picture for picture in VALID if picture.file.startswith("valid/"))
"""The valid ones without the large photos."""
ORIENTED = tuple(picture for picture in VALID if picture.category == "exif-orientation")
"""One scene, stored under the EXIF orientations 1 to 8, in this order."""

_BY_NAME = {picture.name: picture for picture in PICTURES}


def picture(name: str) -> Picture:
    """The picture with that file name, without its extension."""
    return _BY_NAME[name]


def read(name: str) -> bytes:
    """The bytes of the picture with that file name, without its extension."""
    return picture(name).data
