"""What of a picture's metadata goes along with its renditions, as EXIF."""

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from PIL import Image
from PIL.ExifTags import IFD, Base

from omnishot_ray.imaging.decode import Source
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.xmp import read_xmp_credits

_CREDITS = (Base.Artist, Base.Copyright)

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


def exif_for(source: Source, policy: str) -> bytes:
    """EXIF bytes for a rendition, or empty.

    `strip` keeps nothing, `copyright` keeps author and copyright, `keep` keeps all of EXIF (GPS
    too) but the orientation, which has been applied, the thumbnail, which shows the old picture,
    and what a TIFF says of how it is stored. Where EXIF names no author or owner, IPTC or the text
    of a PNG may, and else XMP.
    """
    if policy == "strip":
        return b""
    try:
        credits = _read_credits(source)
        if not source.exif and not credits:
            return b""
        data = _select(source, credits, policy).tobytes()
    except EXIF_ERRORS:  # tags of a wrong type or size: a picture is worth more than its metadata
        return b""
    return data if _EMPTY < len(data) <= MAX_EXIF_BYTES else b""


def _select(source: Source, credits: Mapping[int, str], policy: str) -> Image.Exif:
    kept = Image.Exif()
    if policy == "keep":
        kept.load(source.exif.tobytes())
        kept.pop(Base.Orientation, None)
        if source.header.format is Format.TIFF:
            for tag in set(kept) - _SAID_OF_A_PICTURE:
                del kept[tag]
    kept.update(credits)
    return kept


_SAID_OF_A_PICTURE = frozenset(
    (
        *(Base.DocumentName, Base.ImageDescription, Base.Make, Base.Model, Base.Software),
        *(Base.XResolution, Base.YResolution, Base.ResolutionUnit, Base.DateTime),
        *(Base.HostComputer, Base.Rating, Base.RatingPercent, *_CREDITS),
        *(Base.XPTitle, Base.XPComment, Base.XPAuthor, Base.XPKeywords, Base.XPSubject),
        *(IFD.Exif, IFD.GPSInfo),
    )
)
"""The directory of a TIFF also says how its pixels are stored, and holds all other metadata."""


def _read_credits(source: Source) -> dict[int, str]:
    """Author and copyright, as Pillow would read them from EXIF."""
    found = {int(tag): source.exif.get(tag) for tag in _CREDITS}
    known: dict[int, str] = {tag: text for tag, text in found.items() if isinstance(text, str)}
    others = {} if all(map(known.get, _CREDITS)) else _read_other_credits(source)
    return known | {tag: text for tag, text in others.items() if not known.get(tag, "").strip()}


def _read_other_credits(source: Source) -> dict[int, str]:
    info = source.image.info
    raw: dict[int, bytes] = {}
    packet = info.get("xmp")
    if isinstance(packet, bytes):
        author, rights = read_xmp_credits(packet)
        raw = {Base.Artist: author.encode(), Base.Copyright: rights.encode()}
    if source.header.format is Format.PNG:
        for tag, name in _PNG_CREDITS.items():
            text = info.get(name)
            if isinstance(text, str) and text:
                raw[tag] = text.encode()
    else:
        resources = info.get("photoshop")
        block = resources.get(_IPTC_RESOURCE) if isinstance(resources, dict) else None
        if isinstance(block, bytes):
            raw |= read_iptc_credits(block)
    return {tag: text[:_MOST_TEXT].decode("latin-1") for tag, text in raw.items() if text}


_PNG_CREDITS = {Base.Artist: "Author", Base.Copyright: "Copyright"}
"""Keywords of PNG's texts (W3C PNG 3rd edition §11.3.3.1)."""
_IPTC_RESOURCE = 0x0404
"""Photoshop's number of a block of IPTC."""
_MOST_TEXT = 1_024
_IPTC_CREDITS = {80: Base.Artist, 116: Base.Copyright}
"""By-line and copyright notice of the application record (IPTC-NAA IIM 4.2 §6)."""
_APPLICATION_RECORD = 2


def read_iptc_credits(block: bytes) -> dict[int, bytes]:
    """Author and copyright of an IPTC block by their EXIF tags; several authors are one text.

    What is behind damage counts as not there. Source: IPTC-NAA IIM 4.2 §1.5.
    """
    found: dict[int, list[bytes]] = {}
    at = 0
    while block[at : at + 1] == b"\x1c" and at + 5 <= len(block):
        record, dataset, length = struct.unpack_from(">BBH", block, at + 1)
        text = block[at + 5 : at + 5 + length].replace(b"\0", b"").strip()
        if record == _APPLICATION_RECORD and dataset in _IPTC_CREDITS and text:
            found.setdefault(_IPTC_CREDITS[dataset], []).append(text)
        at += 5 + length
    return {tag: b"; ".join(texts) for tag, texts in found.items()}
