"""The quality that an encoder has to be given to meet a wish about its result, by bisection.

Both searches take at most seven encodes: qualities are the whole numbers from 1 to 100.
"""

import io
from collections.abc import Callable

from PIL import Image

from omnishot_ray.imaging.background import flatten
from omnishot_ray.imaging.color import in_mode
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.header import read_header
from omnishot_ray.imaging.ssim import ssim
from omnishot_ray.imaging.webp import StillWebp

Write = Callable[[int], bytes]
"""Encodes at a quality."""

_LOWEST, _HIGHEST = 1, 100


def largest_within(write: Write, highest: int, limit: int) -> bytes | None:
    """The best quality up to `highest` of at most `limit` bytes; None when none is that small."""
    best: bytes | None = None
    low, high = 1, highest
    while low <= high:
        middle = (low + high) // 2
        data = write(middle)
        if len(data) <= limit:
            best, low = data, middle + 1
        else:
            high = middle - 1
    return best


def lowest_similar(
    write: Write, image: Image.Image, format: Format, target_ssim: float
) -> tuple[bytes, int]:
    """The lowest quality whose SSIM against `image` is at least `target_ssim`, and its number.

    The highest when none reaches it.
    """
    reference = in_mode(flatten(image, "ffffff"), "L")
    low, high = _LOWEST, _HIGHEST
    best: bytes | None = None  # of quality `high`
    while low < high:
        middle = (low + high) // 2
        data = write(middle)
        if ssim(reference, _seen(data, image.size, format)) >= target_ssim:
            best, high = data, middle
        else:
            low = middle + 1
    return best or write(low), low


def _seen(data: bytes, size: tuple[int, int], format: Format) -> Image.Image:
    """The luma of a result of ours, on white."""
    if format is Format.WEBP:
        decoded: Image.Image = StillWebp(data, size, read_header(data).alpha)
    else:
        decoded = Image.open(io.BytesIO(data), formats=[format.plugin])
        decoded.draft("L", size)  # of a JPEG the luma is all that has to be decoded
    decoded.load()
    return in_mode(flatten(decoded, "ffffff"), "L")
