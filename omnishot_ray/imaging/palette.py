"""The colours that a picture is seen to be made of."""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from omnishot_ray.imaging.color import SRGB_TO_LINEAR


@dataclass(frozen=True, slots=True)
class Swatch:
    """A colour of a picture in sRGB (`#rrggbb`), and the share of its pixels that look like it."""

    color: str
    share: float


_BINS = 64
_ALIKE = 0.1
"""Distance in OKLab within which two colours are told as one; a just noticeable one is 0.02."""
_LEAST_SHARE = 0.005
"""Less is the seam between two colours."""
_OPAQUE = 128


def find_palette(image: Image.Image, most: int) -> tuple[Swatch, ...]:
    """The `most` prevailing colours of an `L`, `LA`, `RGB` or `RGBA` picture, by falling share.

    Median cut (Heckbert, "Color Image Quantization for Frame Buffer Display", 1982) makes bins of
    the pixels that are at least half opaque. Then, again and again, the bin with the most pixels
    within `_ALIKE` of it is looked for, and the one in the middle of those taken, with all that is
    like it. What is left over belongs to no colour. Empty when no pixel is that opaque. Meant for
    copies of some ten thousand pixels.
    """
    pixels = np.asarray(image.convert("RGBA")).reshape(-1, 4)
    pixels = pixels[pixels[:, 3] >= _OPAQUE, :3]
    if not len(pixels):
        return ()
    colors, counts = _bin(pixels)
    place = to_oklab(colors)
    distances = np.linalg.norm(place[:, np.newaxis] - place, axis=-1)
    alike = distances < _ALIKE
    free = counts / len(pixels)
    found: list[Swatch] = []
    while len(found) < most and free.any():
        group = alike[np.argmax(np.where(free > 0, alike @ free, 0))]
        middle = np.argmin(np.where(group & (free > 0), distances @ (free * group), np.inf))
        taken = group | alike[middle]
        share = float(free[taken].sum())
        if share < _LEAST_SHARE:
            break
        red, green, blue = colors[middle].tolist()
        found.append(Swatch(f"#{red:02x}{green:02x}{blue:02x}", share))
        free[taken] = 0.0
    return tuple(sorted(found, key=lambda swatch: -swatch.share))


def _bin(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Colours (bins × 3) and how many pixels each has; the exact ones where they are few."""
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    exact, counts = np.unique(packed, return_counts=True)
    if len(exact) <= _BINS:
        shifts = np.array([16, 8, 0], dtype=np.uint32)
        return (exact[:, np.newaxis] >> shifts & 255).astype(np.uint8), counts
    # Six bits a channel are enough to tell bins apart, and cut them in a third of the time.
    row = Image.fromarray(pixels[np.newaxis] & 0xFC)
    index = np.asarray(row.quantize(_BINS, Image.Quantize.MEDIANCUT)).ravel()
    counts = np.bincount(index, minlength=_BINS)
    used = np.flatnonzero(counts)
    sums = np.stack([np.bincount(index, pixels[:, channel], _BINS) for channel in range(3)], -1)
    return np.rint(sums[used] / counts[used, np.newaxis]).astype(np.uint8), counts[used]


_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def to_oklab(colors: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Bytes of sRGB (… × 3) as lightness 0–1, a and b: distances are about as large as they look.

    Source: B. Ottosson, "A perceptual color space for image processing", 2020.
    """
    cones = np.cbrt(SRGB_TO_LINEAR[colors] @ _TO_LMS.T)
    return cast(NDArray[np.float64], cones @ _TO_OKLAB.T)
