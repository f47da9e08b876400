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
from PIL.ExifTags import Base
from PIL.TiffImagePlugin import TiffImageFile

from omnishot_ray.errors import CorruptImage
from omnishot_ray.imaging.directories import bound_directories, keep_texts
from omnishot_ray.imaging.exif import read_orientation
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.geometry import Orientation, Size, exif_orientation
from omnishot_ray.imaging.header import Header, read_header
from omnishot_ray.imaging.limits import Limits, check_header
from omnishot_ray.imaging.png import decode_png
from omnishot_ray.imaging.scans import lacks_scans
from omnishot_ray.imaging.transcode import is_cut_off
from omnishot_ray.imaging.webp import StillWebp, is_still

with suppress(ImportError):  # registers AVIF; `omnishot doctor` reports when it is missing
    import pillow_avif  # noqa: F401


def dct_margin(effort: int) -> float:
    """How many times larger than a rendition a DCT-scaled JPEG is at least, or it is just as large.

    SSIMULACRA2 of the result against a full decode, three photos: 90 to 96 at 1.2, which is what
    cannot be told apart, 86 to 95 at 1.03, where the resampling blurs once more what the DCT has
    cut off. At exactly 1 nothing is resampled: 89 to 96. Efforts 0 to 2 are for speed.
    """
    return 1.2 if effort > 2 else 1.0


DECODER_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    MemoryError,
    RuntimeError,  # this and the next by the AVIF plugin
    ArithmeticError,
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
bound_directories()
keep_texts()
ImageFile.LOAD_TRUNCATED_IMAGES = False
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # of odd metadata


@dataclass(frozen=True, slots=True)
class Source:
    """An opened picture: its header is parsed, its pixels are not decoded yet.

    `size` is upright, in pixels of the full picture. `exif` is Pillow's reading of `exif_block`,
    which is as the file has it (of a TIFF all of the file), empty when there is none. `turn` is
    the EXIF orientation 1–8, 1 when there is none.
    """

    data: bytes
    image: Image.Image
    header: Header
    icc_profile: bytes | None
    exif: Image.Exif
    exif_block: bytes
    turn: int

    @property
    def orientation(self) -> Orientation:
        """How the stored pixels become upright."""
        return exif_orientation(self.turn)

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


def open_within(data: bytes, limits: Limits, judged: Header | None = None) -> Source:
    """Read the header, judge it, and open the picture; nothing is decoded yet.

    `judged` is the header where both have been done.

    Raises:
        ImageError: the source is of no allowed format, damaged or over a limit.
    """
    if judged is not None:
        return open_source(data, judged)
    header = read_header(data)
    check_header(header, limits)
    return open_source(data, header)


def open_source(data: bytes, header: Header) -> Source:
    """Open a picture whose header has passed the limits. Raises `CorruptImage`."""
    with decoder_errors_as_ours(header.format):
        if header.format is Format.WEBP and is_still(data):
            image: Image.Image = StillWebp(data, (header.width, header.height), header.alpha)
        else:
            image = open_image(data, header.format)
        if image.size != (header.width, header.height):
            raise ValueError("the header and the decoder disagree on the size")
        exif = _read_exif(image, data)
        icc_profile = image.info.get("icc_profile")
        block = _exif_block(image, data)
    turn = read_orientation(block)
    return Source(data, image, header, icc_profile or None, exif, block, turn)


def _read_exif(image: Image.Image, data: bytes) -> Image.Exif:
    try:
        if image.format == "PNG" and "exif" not in image.info and b"eXIf" not in data:
            return Image.Image.getexif(image)  # the plugin's own decodes all pixels to look behind
        return image.getexif()
    except DECODER_ERRORS:
        return Image.Exif()


def _exif_block(image: Image.Image, data: bytes) -> bytes:
    if image.format == "TIFF":
        return data
    written = image.info.get("Raw profile type exif")  # before PNG had a chunk for it
    if "exif" not in image.info and isinstance(written, str):
        with suppress(ValueError):
            return bytes.fromhex("".join(written.split("\n")[3:]))
    block = image.info.get("exif")
    return block if isinstance(block, bytes) else b""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Pixels as stored, of mode `L`, `LA`, `RGB`, `RGBA` or `CMYK`, and what they show.

    `width` and `height` are those of the whole picture at the scale of the pixels. They need not be
    whole: 2725 pixels at 1/8 are 340.6, which is stored in 341, the last one only partly filled.
    """

    image: Image.Image
    width: float
    height: float


def decode(source: Source, needed: Size, effort: int) -> Decoded:
    """Decode the pixels, at a reduced scale where a JPEG allows it.

    `needed` is the largest scaled size (stored orientation, pixels of the whole picture) of any
    rendition; the result is at least that large on both sides or full size, by a margin that the
    highest `effort` of them demands. Raises `CorruptImage`.
    """
    image = source.image
    width, height = float(image.width), float(image.height)
    with decoder_errors_as_ours(source.header.format):
        if source.header.format is Format.JPEG:
            divisor = dct_divisor(Size(*image.size), needed, dct_margin(effort))
            reduced = image.draft(None, (image.width // divisor, image.height // divisor))
            if divisor > 1 and reduced is not None:
                _, (_, _, width, height) = reduced
        if source.header.format is Format.PNG and (plain := decode_png(source.data, image)):
            return Decoded(plain, width, height)
        covered = _covered_by_first_frame(image) if source.header.format is Format.GIF else None
        pixels = load_pixels(image)
        if source.header.format is Format.JPEG and _seems_cut_off(source, pixels):
            raise ValueError("the picture ends before its last row")
        return Decoded(_uncovered_as_alpha(pixels, covered), width, height)


def _seems_cut_off(source: Source, pixels: Image.Image) -> bool:
    """Whether a JPEG lacks blocks at its end, which libjpeg fills with grey and Pillow keeps quiet.

    To make sure takes half the time of decoding, so only what is suspicious is read once more: a
    file whose last pixel is that very grey, which ends in zeros, as half a download may, or which
    lacks scans.
    """
    corner = pixels.getpixel((pixels.width - 1, pixels.height - 1))
    is_suspicious = (
        _MISSING.issuperset(corner if isinstance(corner, tuple) else (corner,))
        or source.data.endswith(_PADDING)
        or (source.header.scans > 1 and lacks_scans(source.data))
    )
    return is_suspicious and is_cut_off(source.data)


_MISSING = frozenset((127, 128))
"""Coefficients of 0 (`insufficient_data` of jdhuff.c), in CMYK turned round."""
_PADDING = bytes(16)


def dct_divisor(stored: Size, needed: Size, margin: float) -> int:
    """8, 4, 2 or 1: how much smaller a JPEG can be decoded for renditions of the `needed` size."""
    for divisor in (8, 4, 2):
        width, height = stored.width / divisor, stored.height / divisor
        if width == needed.width and height == needed.height:
            return divisor
        if min(width / needed.width, height / needed.height) >= margin:
            return divisor
    return 1


def _covered_by_first_frame(image: Image.Image) -> tuple[int, int, int, int] | None:
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    return tiles[0].extents if tiles else None


def _uncovered_as_alpha(
    image: Image.Image, covered: tuple[int, int, int, int] | None
) -> Image.Image:
    """What the first frame of a GIF leaves of its screen is transparent, where Pillow paints it."""
    if covered is None or covered == (0, 0, *image.size):
        return image
    screen = Image.new("RGBA", image.size)
    screen.paste(image.crop(covered).convert("RGBA"), covered)
    return screen


def load_pixels(image: Image.Image) -> Image.Image:
    """Decode to `L`, `LA`, `RGB`, `RGBA` or `CMYK` of 8 bits, a transparent colour as alpha.

    Raises what Pillow raises on damaged data, see `DECODER_ERRORS`.
    """
    image.load()
    return _in_working_mode(image)


def open_image(data: bytes, format: Format) -> Image.Image:
    """Pillow's picture of these bytes, read as this format and no other; not decoded yet.

    Raises what Pillow raises on damaged data, see `DECODER_ERRORS`.
    """
    image = Image.open(io.BytesIO(data), formats=[format.plugin])
    if format is Format.JPEG and isinstance(image, ImageFile.ImageFile):
        # In one piece: where a piece ends, libjpeg begins the row of blocks anew, 3 % of its time.
        image.decodermaxblock = max(len(data), image.decodermaxblock)
    if isinstance(image, TiffImageFile):
        _keep_as_stored(image)
    if "transparency" in image.info:
        image.info["transparency"] = _transparent_colour(image)
    return image


def _keep_as_stored(image: TiffImageFile) -> None:
    """A TIFF alone of all formats would be turned by Pillow when it is loaded, all of it."""
    image.getexif().pop(Base.Orientation, None)
    image._size = image._tile_size


def _transparent_colour(image: Image.Image) -> object:
    """The tRNS of a PNG in the range of the pixels as Pillow expands them.

    The file has it in its own depth (W3C PNG 3rd edition §11.3.1.1): grey of 2 and 4 bits is spread
    over 0–255, and of colours of 16 bits the upper 8 are kept, while Pillow compares it as it is.
    """
    found = image.info["transparency"]
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    layout = tiles[0].args if tiles else None
    if isinstance(found, int) and layout in ("L;2", "L;4"):
        return found * 255 // (3 if layout == "L;2" else 15)
    if isinstance(found, tuple) and layout == "RGB;16B":
        return tuple(value >> 8 for value in found)
    return found


def _in_working_mode(image: Image.Image) -> Image.Image:
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
    if mode == "F":
        return _from_fractions(image)
    return image.convert("RGB")


_TO_EIGHT_BITS = ((np.arange(65536) + 128) // 257).astype(np.uint8)


def _narrowed(image: Image.Image, transparent: object) -> Image.Image:
    """16 bits to 8 by scaling, where Pillow's own conversion clips.

    And 32 bits of a TIFF, which Pillow reads as signed, unless they hold no more than 16 do.
    """
    values = np.asarray(image)
    if values.dtype.itemsize > 2:
        if _tiff_tag(image, _SAMPLE_FORMAT) in (None, 1, (1,)) and image.format == "TIFF":
            values = values.view(np.uint32)
            values = values >> 16 if values.max(initial=0) > 0xFFFF else values
        values = np.clip(values, 0, 65535).astype(np.uint16)
    narrowed = Image.fromarray(_TO_EIGHT_BITS[values])
    if _tiff_tag(image, _PHOTOMETRIC) == 0:
        narrowed = narrowed.point(range(255, -1, -1))
    if isinstance(transparent, int):
        narrowed.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return narrowed


_PHOTOMETRIC = 262
"""0: white is zero (TIFF 6.0 §3), which Pillow turns round for up to 8 bits only."""


_SAMPLE_FORMAT = 339
"""1 or none: unsigned (TIFF 6.0 §19)."""


def _tiff_tag(image: Image.Image, tag: int) -> object:
    tags = getattr(image, "tag_v2", None)
    return tags.get(tag) if tags else None


def _from_fractions(image: Image.Image) -> Image.Image:
    """Floating point samples: 0 to 1 by the usual convention, else as they are."""
    values = np.nan_to_num(np.asarray(image))
    if values.max(initial=0.0) <= 1.0:
        values = values * 255.0
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
