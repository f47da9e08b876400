"""Bytes to pixels: one seam to Pillow's decoders, behind limits and an allowlist.

Decoding stops at the smallest DCT scale of a JPEG that still holds every rendition asked for.
"""

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile

from omnishot_ray.errors import CorruptImage
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.geometry import Orientation, Size, exif_orientation
from omnishot_ray.imaging.header import Header

with suppress(ImportError):  # registers AVIF; `omnishot doctor` reports when it is missing
    import pillow_avif  # noqa: F401

DRAFT_MARGIN = 1.0
"""How many times larger than a rendition the DCT-scaled JPEG stays, at least, on each side."""

DECODER_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    MemoryError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders were seen to raise on broken files (fuzzed and from the corpus)."""

_KEPT_BLOCKS = 4
"""Blocks of pixel memory (16 MiB at most each) that Pillow keeps for the next picture. Without any,
a quarter of the CPU time of four platforms of a 1600 px photo is page faults: 64 ms against 48 ms.
One to three keep some of them, more than four bring nothing."""
Image.core.set_blocks_max(_KEPT_BLOCKS)  # type: ignore[attr-defined]

# The limits of this package are checked on the header, before Pillow sees the file.
Image.MAX_IMAGE_PIXELS = None
ImageFile.LOAD_TRUNCATED_IMAGES = False
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # of odd metadata


@dataclass(frozen=True, slots=True)
class Source:
    """An opened picture: its header is parsed, its pixels are not decoded yet.

    `size` is upright, in pixels of the full picture.
    """

    image: Image.Image
    header: Header
    orientation: Orientation
    icc_profile: bytes | None
    exif: Image.Exif

    @property
    def size(self) -> Size:
        """Upright size of the full picture."""
        return self.orientation.applied_to(Size(self.header.width, self.header.height))


@contextmanager
def decoder_errors_as_ours(format: Format) -> Iterator[None]:
    """Whatever a decoder raises on broken data becomes `CorruptImage`."""
    try:
        yield
    except DECODER_ERRORS as error:
        raise CorruptImage(
            f"The {format.plugin} data is damaged or cut off and cannot be decoded; "
            "send the whole, undamaged file."
        ) from error


def open_source(data: bytes, header: Header) -> Source:
    """Open a picture whose header has passed the limits. Raises `CorruptImage`."""
    with decoder_errors_as_ours(header.format):
        image = Image.open(io.BytesIO(data), formats=[header.format.plugin])
        if image.size != (header.width, header.height):
            raise ValueError("the header and the decoder disagree on the size")
        exif = _read_exif(image)
        icc_profile = image.info.get("icc_profile")
    return Source(image, header, exif_orientation(exif.get(0x0112)), icc_profile or None, exif)


def _read_exif(image: Image.Image) -> Image.Exif:
    try:
        return image.getexif()
    except DECODER_ERRORS:
        return Image.Exif()


@dataclass(frozen=True, slots=True)
class Decoded:
    """Pixels as stored, of mode `L`, `LA`, `RGB`, `RGBA` or `CMYK`, and what they show.

    `width` and `height` are those of the whole picture at the scale of the pixels. They need not be
    whole: 2725 pixels at 1/8 are 340.6, which is stored in 341, the last one only partly filled.
    """

    image: Image.Image
    width: float
    height: float


def decode(source: Source, needed: Size) -> Decoded:
    """Decode the pixels, at a reduced scale where a JPEG allows it.

    `needed` is the largest scaled size (stored orientation, pixels of the whole picture) of any
    rendition; the result is at least that large on both sides or full size. Raises `CorruptImage`.
    """
    image = source.image
    width, height = float(image.width), float(image.height)
    with decoder_errors_as_ours(source.header.format):
        if source.header.format is Format.JPEG:
            wanted = round(needed.width * DRAFT_MARGIN), round(needed.height * DRAFT_MARGIN)
            reduced = image.draft(None, wanted)
            if reduced is not None:
                _, (_, _, width, height) = reduced
        covered = image.tile[0].extents if source.header.format is Format.GIF else None
        image.load()
        return Decoded(_uncovered_as_alpha(in_working_mode(image), covered), width, height)


def _uncovered_as_alpha(
    image: Image.Image, covered: tuple[int, int, int, int] | None
) -> Image.Image:
    """What the first frame of a GIF leaves of its screen is transparent, where Pillow paints it."""
    if covered is None or covered == (0, 0, *image.size):
        return image
    screen = Image.new("RGBA", image.size)
    screen.paste(image.crop(covered).convert("RGBA"), covered)
    return screen


def in_working_mode(image: Image.Image) -> Image.Image:
    """The picture as `L`, `LA`, `RGB`, `RGBA` or `CMYK` of 8 bits, transparent colours as alpha."""
    mode: str = image.mode
    if mode in ("L", "RGB", "RGBA", "LA", "CMYK"):
        if mode in ("L", "RGB") and "transparency" in image.info:
            return image.convert("RGBA")
        return image
    if mode in ("P", "PA"):
        return image.convert("RGBA" if mode == "PA" or "transparency" in image.info else "RGB")
    if mode == "1":
        return image.convert("RGBA" if "transparency" in image.info else "L")
    if mode.startswith("I"):  # Pillow opens some 16-bit files as 32-bit integers
        return _narrowed(image, image.info.get("transparency"))
    return image.convert("RGB")


def _narrowed(image: Image.Image, transparent: object) -> Image.Image:
    """16 bits to 8 by scaling, where Pillow's own conversion clips."""
    values = np.asarray(image.convert("I"))
    narrowed = Image.fromarray((np.clip(values, 0, 65535) // 257).astype(np.uint8))
    if isinstance(transparent, int):
        narrowed.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return narrowed
