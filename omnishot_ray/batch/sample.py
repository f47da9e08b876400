"""Outputs read back: a few renditions as small pictures, for people to look at."""

import base64
import hashlib
import heapq
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from omnishot_ray.batch.places import Place
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import parse_options
from omnishot_ray.imaging.pipeline import Rendition
from omnishot_ray.protocol import ImageTask, run_task

_SIDE = 160
_THUMBNAIL = parse_options(
    {"width": _SIDE, "height": _SIDE, "fit": "inside", "format": "jpeg", "quality": 70}
)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small JPEG of one rendition."""

    member: str
    rendition: str
    width: int
    height: int
    bytes_out: int
    data_uri: str


def choose(rows: Iterable[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Rows that were made well, spread over all, the same every time; in memory are `count`."""

    def rank(row: dict[str, Any]) -> str:
        text = f"{row['source']}\0{row['index']}\0{row['rendition']}"
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    return heapq.nsmallest(count, (row for row in rows if row["status"] == "ok"), key=rank)


def thumbnails(out: Place, rows: Iterable[dict[str, Any]]) -> Iterator[Thumbnail]:
    """Of those that can still be read."""
    for row in rows:
        try:
            data = read_output(out, row["output"], row["entry"])
        except (OSError, KeyError, tarfile.TarError, zipfile.BadZipFile):
            continue
        outcome = run_task(ImageTask(data, (_THUMBNAIL,), "report"), Limits())
        made = getattr(outcome, "renditions", (None,))[0]
        if isinstance(made, Rendition):
            uri = "data:image/jpeg;base64," + base64.b64encode(made.data).decode()
            yield Thumbnail(
                row["member"], row["rendition"], row["width"], row["height"], row["bytes_out"], uri
            )


def read_output(out: Place, output: str, entry: str) -> bytes:
    """The bytes of one rendition, by the columns `output` and `entry` of the manifest.

    Raises `OSError` or `KeyError` where it is gone.
    """
    place = out / output
    if not entry:
        return place.read()
    with place.open() as file:
        if output.endswith(".zip"):
            with zipfile.ZipFile(file) as archive:
                return archive.read(entry)
        if output.endswith(".tar"):
            with tarfile.open(fileobj=file) as tar:
                member = tar.extractfile(entry)
                if member is None:
                    raise KeyError(entry)
                return member.read()
        found = pq.read_table(file, columns=["data"], filters=[("entry", "=", entry)])
        if not found.num_rows:
            raise KeyError(entry)
        return bytes(found.column("data")[0].as_buffer())
