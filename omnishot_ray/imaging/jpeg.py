"""JPEG written: libjpeg-turbo for speed, jpegli for size, and a lossless pass to progressive.

Over 13 photos, bytes at equal SSIMULACRA2 and CPU against mozjpeg as sharp runs it: jpegli 1.02 for
a sixteenth, jpegli made progressive 0.97 for a fifth, libjpeg-turbo 1.12 (`benchmarks/quality`).
"""

import io
from bisect import bisect_right
from typing import Any

from PIL import Image

from omnishot_ray.imaging.container import with_exif
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.metadata import bare
from omnishot_ray.imaging.transcode import make_progressive

try:
    import pyjpegli
except ImportError:  # on a machine that it has no wheel for; `omnishot doctor` reports it
    pyjpegli = None

JPEGLI_FROM, PROGRESSIVE_FROM = 3, 6
"""The effort from which jpegli is used, and from which its result is made progressive: that costs
2.5 times as much again and saves 5 to 6 %."""

_JPEGLI_QUALITY = (
    *((1, 1), (10, 3), (20, 11), (30, 20), (40, 30), (50, 48), (60, 59), (70, 70)),
    *((80, 82), (85, 86), (90, 91), (95, 95), (100, 100)),
)
"""What quality jpegli needs for libjpeg-turbo's mean SSIMULACRA2: (asked, jpegli's), straight
between. Fitted by `benchmarks/quality/fit.py`."""


def write_jpeg(
    image: Image.Image, quality: int, effort: int, progressive: bool | None, exif: bytes
) -> bytes:
    """JPEG, 4:2:0, of an `L` or `RGB` picture; `quality` 1–100 on libjpeg's scale.

    `progressive` None: from effort 6 on. All is by libjpeg-turbo where jpegli is not there. Raises
    OSError or ValueError for a picture that a JPEG cannot hold.
    """
    if image.mode != "RGB" or effort < JPEGLI_FROM:
        return _write_turbo(image, quality, effort, bool(progressive), exif)
    wants_progressive = effort >= PROGRESSIVE_FROM if progressive is None else progressive
    if pyjpegli is None:
        return _write_turbo(image, quality, effort, wants_progressive, exif)
    pixels = image.tobytes()
    data: bytes = pyjpegli.encode(pixels, image.width, image.height, jpegli_quality(quality))
    if wants_progressive:
        data = make_progressive(data)
    return with_exif(data, Format.JPEG, exif)


def jpegli_quality(quality: int) -> int:
    """Jpegli's quality that looks like libjpeg-turbo's `quality`."""
    at = bisect_right(_JPEGLI_QUALITY, (quality, 101)) - 1
    asked, ours = _JPEGLI_QUALITY[at]
    if asked == quality:
        return ours
    next_asked, next_ours = _JPEGLI_QUALITY[at + 1]
    return round(ours + (next_ours - ours) * (quality - asked) / (next_asked - asked))


def _write_turbo(
    image: Image.Image, quality: int, effort: int, progressive: bool, exif: bytes
) -> bytes:
    # Huffman tables of its own take a second pass, which doubles the time of a baseline JPEG and
    # saves 0.6 % of a detailed photo, 2.5 % of a soft one.
    settings: dict[str, Any] = {"optimize": effort >= JPEGLI_FROM, "progressive": progressive}
    if exif:
        settings["exif"] = exif
    sink = io.BytesIO()
    with bare(image):
        image.save(sink, "JPEG", quality=quality, subsampling="4:2:0", **settings)
    return sink.getvalue()
