"""Still WebP read by libwebp's plain decoder.

Pillow reads every WebP as an animation: two canvases from the moment it is opened, a copy of the
frame as bytes, and that once more as a picture, sixteen bytes a pixel where four are enough, in 2.5
times the time of libwebp 1.6 (12 megapixels: 225 ms, 87 ms like this).
"""

import struct
from typing import Any

import imagecodecs
from PIL import Image

from omnishot_ray.imaging.header import MOST_BLOCKS

_INFO = {b"ICCP": "icc_profile", b"EXIF": "exif", b"XMP ": "xmp"}
"""The chunks that are not pixels (RFC 9649 §2.7.1.4, §2.7.1.5) by Pillow's names."""
_ANIMATION = 0x02


def is_still(data: bytes) -> bool:
    """Whether a WebP has no animation flag; one with it and a single frame is an animation."""
    return data[12:16] != b"VP8X" or not data[20] & _ANIMATION


class StillWebp(Image.Image):
    """A still WebP that decodes itself when its pixels are first asked for, as Pillow's files do.

    `RGBA` where `alpha` is true, else `RGB`. `load` raises `imagecodecs.WebpError` or `ValueError`
    for damaged data, and where the picture is not of the `size` that its header has.
    """

    format = "WEBP"

    def __init__(self, data: bytes, size: tuple[int, int], alpha: bool) -> None:
        super().__init__()
        self._data = data
        self._size = size
        self._mode = "RGBA" if alpha else "RGB"
        self.info.update(_read_info(data))

    def load(self) -> Any:
        """Decode, once, into the four bytes a pixel that Pillow keeps, which are not copied."""
        if self._im is None:
            pixels = imagecodecs.webp_decode(self._data, hasalpha=True)
            if pixels.shape != (self.height, self.width, 4):
                raise ValueError("the header and the decoder disagree on the size")
            # Only these modes share the memory that they are given.
            shared = "RGBA" if self.mode == "RGBA" else "RGBX"
            image = Image.frombuffer(shared, self.size, pixels, "raw", shared, 0, 1)
            image.im.setmode(self.mode)
            self.im = image.im
            self.readonly = 1
        return super().load()


def _read_info(data: bytes) -> dict[str | tuple[int, int], Any]:
    """The first chunk of each kind."""
    found: dict[str | tuple[int, int], Any] = {}
    at = 12
    for _ in range(MOST_BLOCKS):
        if at + 8 > len(data):
            break
        kind, (length,) = data[at : at + 4], struct.unpack_from("<I", data, at + 4)
        if kind in _INFO and length:
            found.setdefault(_INFO[kind], data[at + 8 : at + 8 + length])
        at += 8 + length + (length & 1)
    return found
