"""What of a picture's EXIF goes along with its renditions."""

from PIL import Image
from PIL.ExifTags import IFD, Base

_COPYRIGHT_TAGS = (Base.Artist, Base.Copyright)


def exif_for(source: Image.Exif, policy: str) -> bytes:
    """EXIF bytes for a rendition, or empty.

    `strip` keeps nothing, `copyright` keeps author and copyright, `keep` keeps all of it (GPS too)
    but the orientation, which has been applied, and the thumbnail, which shows the old picture.
    """
    if policy == "strip" or not source:
        return b""
    kept = Image.Exif()
    if policy == "copyright":
        for tag in _COPYRIGHT_TAGS:
            if source.get(tag):
                kept[tag] = source[tag]
    else:
        kept.load(source.tobytes())
        kept.pop(Base.Orientation, None)
        kept.get_ifd(IFD.IFD1).clear()
    return kept.tobytes() if kept else b""
