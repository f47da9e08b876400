"""What of a picture's EXIF goes along with its renditions."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image
from PIL.ExifTags import Base

_COPYRIGHT_TAGS = (Base.Artist, Base.Copyright)

EXIF_ERRORS = (
    struct.error,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    OSError,
    KeyError,
)
"""What Pillow was seen to raise when it writes tags that a broken file carried."""

MAX_EXIF_BYTES = 65_533
"""The segment of a JPEG that holds EXIF has a length of two bytes (ITU-T T.81 §B.1.1.4)."""

_EMPTY = len(Image.Exif().tobytes())


@contextmanager
def bare(image: Image.Image) -> Iterator[Image.Image]:
    """The picture without what came along with its source, which Pillow would write too.

    Only meanwhile: a rendition as large as the source shares its pixels with others.
    """
    info, image.info = image.info, {}
    try:
        yield image
    finally:
        image.info = info


def exif_for(source: Image.Exif, policy: str) -> bytes:
    """EXIF bytes for a rendition, or empty.

    `strip` keeps nothing, `copyright` keeps author and copyright, `keep` keeps all of it (GPS too)
    but the orientation, which has been applied, and the thumbnail, which shows the old picture.
    """
    if policy == "strip" or not source:
        return b""
    try:
        data = _select(source, policy).tobytes()
    except EXIF_ERRORS:  # tags of a wrong type or size: a picture is worth more than its metadata
        return b""
    return data if _EMPTY < len(data) <= MAX_EXIF_BYTES else b""


def _select(source: Image.Exif, policy: str) -> Image.Exif:
    kept = Image.Exif()
    if policy == "copyright":
        for tag in _COPYRIGHT_TAGS:
            if isinstance(source.get(tag), str):
                kept[tag] = source[tag]
    else:
        kept.load(source.tobytes())
        kept.pop(Base.Orientation, None)
    return kept
