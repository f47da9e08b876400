"""The pictures that visitors send: drawn here, or taken from a folder, and numbered.

A number in a picture's metadata makes other bytes of the same pixels, so that one drawing stands
for a whole catalogue: nothing is answered from a cache that has not been asked for before.
"""

import io
import logging
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from omnishot_ray.errors import OmnishotError
from omnishot_ray.imaging.formats import Format, sniff
from omnishot_ray.imaging.header import read_header
from omnishot_ray.imaging.limits import Limits

SIZES = ("small", "medium", "large")
_SMALL_PIXELS, _MEDIUM_PIXELS = 500_000, 3_000_000
_MOST_BYTES = 32 * 1024 * 1024
_MOST_PIXELS = Limits().max_pixels
"""What the service takes by default; larger files of a folder are left out."""
_MOST_TOTAL = 512 * 1024 * 1024
_MOST_NAMES = 5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Picture:
    """A file to send; width and height in pixels, upright."""

    name: str
    data: bytes
    width: int
    height: int
    format: Format

    @property
    def size(self) -> str:
        """`small` up to half a megapixel, `medium` up to three, else `large`."""
        pixels = self.width * self.height
        return SIZES[(pixels > _SMALL_PIXELS) + (pixels > _MEDIUM_PIXELS)]


Library = Mapping[str, Sequence[Picture]]
"""Pictures by their size; each size has at least one."""


def group(pictures: Sequence[Picture]) -> Library:
    """Pictures by size; the nearest size stands in for one without. ValueError for none at all."""
    if not pictures:
        raise ValueError("no JPEG, PNG or WebP among the pictures")
    found = {size: [one for one in pictures if one.size == size] for size in SIZES}
    small, medium, large = (found[size] for size in SIZES)
    return {
        "small": small or medium or large,
        "medium": medium or large or small,
        "large": large or medium or small,
    }


@cache
def drawn_library() -> Library:
    """Drawn pictures of the sizes that cameras, screens and shops send; the same everywhere."""
    return group(
        [
            _draw("small", 480, 360, Format.JPEG),
            _draw("logo", 400, 400, Format.PNG),
            _draw("screen", 1600, 1200, Format.JPEG),
            _draw("web", 1200, 900, Format.WEBP),
            _draw("camera", 2725, 2225, Format.JPEG),
        ]
    )


def read_library(folder: Path, warn: Callable[[str], None] = _log.warning) -> Library:
    """The JPEG, PNG and WebP files of a folder.

    What the service would not take by its defaults, 32 MiB or 50 megapixels, is left out, and
    `warn` gets a line about all of it. ValueError when there are no pictures, and when there are
    more than 512 MiB of them, for each process of visitors has all in memory.
    """
    pictures, left_out, total = [], list[str](), 0
    for path in sorted(folder.iterdir()):
        if not path.is_file():
            continue
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        format = sniff(data)
        if format not in _NUMBERERS:
            continue
        try:
            header = read_header(data)
        except OmnishotError:
            continue
        if len(data) > _MOST_BYTES or header.width * header.height > _MOST_PIXELS:
            left_out.append(path.name)
            continue
        total += len(data)
        if total > _MOST_TOTAL:
            raise ValueError(
                f"the pictures of {folder} have more than {_MOST_TOTAL >> 20} MiB, which is the "
                "limit; take fewer or smaller ones"
            )
        width, height = header.width, header.height
        if header.swaps_sides:
            width, height = height, width
        pictures.append(Picture(path.name, data, width, height, format))
    if left_out:
        names = ", ".join(left_out[:_MOST_NAMES]) + ", …" * (len(left_out) > _MOST_NAMES)
        warn(
            f"left out {len(left_out)} pictures of {folder} with more than {_MOST_BYTES >> 20} MiB "
            f"or {_MOST_PIXELS / 1e6:g} megapixels: {names}"
        )
    return group(pictures)


def numbered(picture: Picture, number: int) -> bytes:
    """The same picture in other bytes, by a comment of its format's own that holds the number."""
    return _NUMBERERS[picture.format](picture.data, f"{number:016x}".encode())


def _comment_jpeg(data: bytes, text: bytes) -> bytes:
    """A COM segment after the first one (ITU-T T.81 B.2.4.5)."""
    after = 4 + int.from_bytes(data[4:6], "big")
    return data[:after] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + data[after:]


def _comment_png(data: bytes, text: bytes) -> bytes:
    """A tEXt chunk after the header (PNG specification 11.3.3.2)."""
    body = b"tEXtComment\0" + text
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    after = 8 + 12 + 13
    return data[:after] + chunk + data[after:]


def _comment_webp(data: bytes, text: bytes) -> bytes:
    """An unknown chunk at the end, which readers have to skip (RFC 9649 section 2.7.1.6)."""
    chunk = b"NUMB" + struct.pack("<I", len(text)) + text + b"\0" * (len(text) % 2)
    return data[:4] + struct.pack("<I", len(data) - 8 + len(chunk)) + data[8:] + chunk


_NUMBERERS = {
    Format.JPEG: _comment_jpeg,
    Format.PNG: _comment_png,
    Format.WEBP: _comment_webp,
}


def _draw(name: str, width: int, height: int, format: Format) -> Picture:
    """Clouds with as much to do for a codec as a photograph.

    Each octave of frequencies has the same contrast, as in photographs (Field, "Relations between
    the statistics of natural images and the response properties of cortical cells", JOSA A 4,
    1987); the last is left out, as lenses do. Colours change in the coarse octaves alone.
    """
    chance = np.random.default_rng(width * height)
    pixels = np.full((height, width, 3), 128.0, np.float32)
    cells = 4
    while cells <= max(width, height) // 2:
        rows = max(1, cells * height // width)
        pixels += _CONTRAST * _grown(chance.normal(size=(rows, cells)), width, height)[..., None]
        if cells <= _COLOUR_CELLS:
            for channel in range(3):
                noise = chance.normal(size=(rows, cells))
                pixels[..., channel] += _CONTRAST / 2 * _grown(noise, width, height)
        cells *= 2
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if format is Format.PNG:
        image.putalpha(Image.radial_gradient("L").resize((width, height)))
    sink = io.BytesIO()
    image.save(sink, format.plugin, **({} if format is Format.PNG else {"quality": 85}))
    return Picture(name, sink.getvalue(), width, height, format)


_CONTRAST = 16.0
_COLOUR_CELLS = 64


def _grown(noise: NDArray[np.float64], width: int, height: int) -> NDArray[np.float32]:
    layer = Image.fromarray(noise.astype(np.float32))
    return np.asarray(layer.resize((width, height), Image.Resampling.BICUBIC))
