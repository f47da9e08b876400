"""BlurHash and ThumbHash: a picture in some thirty bytes, to be shown until the picture is there.

Both keep the lowest terms of a cosine transform, here as two small matrix products. Pixels are
arrays of height × width × channels of `uint8` in sRGB, at least 1 × 1.
"""

import math
from typing import cast

import numpy as np
from numpy.typing import NDArray

from omnishot_ray.imaging.color import SRGB_TO_LINEAR

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float64]

BASE83 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"


def blurhash(pixels: Pixels, terms_x: int, terms_y: int) -> str:
    """The BlurHash of RGB pixels, with 1 to 9 terms along each side.

    Source: Algorithm.md of github.com/woltapp/blurhash. The scale of the terms is by their largest
    absolute value, as in its C and Swift encoders; the TypeScript one takes the largest value and
    cuts off what is darker than that is bright.
    """
    height, width = pixels.shape[:2]
    along_x = np.cos(np.pi / width * np.outer(np.arange(terms_x), np.arange(width)))
    along_y = np.cos(np.pi / height * np.outer(np.arange(terms_y), np.arange(height)))
    terms = _transform(SRGB_TO_LINEAR[pixels], along_x, along_y)
    mean, waves = terms.reshape(-1, 3)[0], 2 * terms.reshape(-1, 3)[1:]

    largest = float(np.abs(waves).max(initial=0.0))
    scale = min(82, max(0, math.floor(largest * 166 - 0.5)))
    waves *= 166 / (scale + 1)
    steps = np.floor(np.sign(waves) * np.sqrt(np.abs(waves)) * 9 + 9.5).clip(0, 18).astype(int)
    packed = steps @ np.array([19 * 19, 19, 1])
    average = _to_srgb_bytes(mean) @ np.array([1 << 16, 1 << 8, 1])
    return "".join(
        (
            _base83(terms_x - 1 + (terms_y - 1) * 9, 1),
            _base83(scale, 1),
            _base83(int(average), 4),
            *(_base83(int(value), 2) for value in packed),
        )
    )


def _transform(channels: Plane, along_x: Plane, along_y: Plane) -> Plane:
    """Mean products of height × width × channels with each pair of waves, y × x × channels."""
    height, width = channels.shape[:2]
    terms = np.tensordot(along_y, channels, axes=(1, 0))
    terms = np.tensordot(along_x, terms, axes=(1, 1)).swapaxes(0, 1) / (width * height)
    return cast(Plane, terms)


def _to_srgb_bytes(linear: Plane) -> NDArray[np.int64]:
    """The transfer function of IEC 61966-2-1, rounded to 0–255."""
    linear = linear.clip(0, 1)
    curved = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.floor(curved * 255 + 0.5).astype(np.int64)


def _base83(value: int, digits: int) -> str:
    return "".join(BASE83[value // 83**place % 83] for place in reversed(range(digits)))


THUMBHASH_SIDE = 100
"""More pixels than this on a side change nothing in a ThumbHash (the reference refuses them)."""


def thumbhash(pixels: Pixels) -> bytes:
    """The ThumbHash of RGBA pixels (not premultiplied), 5 to 25 bytes.

    Source: `rgbaToThumbHash` of github.com/evanw/thumbhash, js/thumbhash.js. It has no other
    specification than its code.
    """
    height, width = pixels.shape[:2]
    alpha = pixels[..., 3:] / 255.0
    total = alpha.sum()
    color = pixels[..., :3] / 255.0
    average = (color * alpha).sum(axis=(0, 1)) / (total or 1.0)
    red, green, blue = np.moveaxis(average * (1 - alpha) + color * alpha, -1, 0)
    see_through = bool(total < width * height)

    most = 5 if see_through else 7
    light_x = max(1, _rounded(most * width / max(width, height)))
    light_y = max(1, _rounded(most * height / max(width, height)))
    light = _waves((red + green + blue) / 3, max(3, light_x), max(3, light_y))
    yellow = _waves((red + green) / 2 - blue, 3, 3)
    crimson = _waves(red - green, 3, 3)

    landscape = width > height
    head = (
        _rounded(63 * light[0])
        | _rounded(31.5 + 31.5 * yellow[0]) << 6
        | _rounded(31.5 + 31.5 * crimson[0]) << 12
        | _rounded(31 * light[1]) << 18
        | see_through << 23
        | (light_y if landscape else light_x) << 24
        | _rounded(63 * yellow[1]) << 27
        | _rounded(63 * crimson[1]) << 33
        | landscape << 39
    )
    written = [light, yellow, crimson]
    hash = int(head).to_bytes(5, "little")
    if see_through:
        veil = _waves(alpha[..., 0], 5, 5)
        written.append(veil)
        hash += bytes([_rounded(15 * veil[0]) | _rounded(15 * veil[1]) << 4])
    nibbles = np.concatenate([np.floor(15 * waves + 0.5) for _, _, waves in written]).astype(int)
    nibbles = np.pad(nibbles, (0, len(nibbles) % 2))
    return hash + bytes(list(nibbles[::2] | nibbles[1::2] << 4))


def _waves(channel: Plane, terms_x: int, terms_y: int) -> tuple[float, float, Plane]:
    """Mean, largest term, and the terms above the diagonal as fractions of it (0.5 is none)."""
    height, width = channel.shape
    along_x = np.cos(np.pi / width * np.outer(np.arange(terms_x), np.arange(width) + 0.5))
    along_y = np.cos(np.pi / height * np.outer(np.arange(terms_y), np.arange(height) + 0.5))
    terms = _transform(channel[..., np.newaxis], along_x, along_y)[..., 0]
    y, x = np.indices(terms.shape)
    kept = terms[x * terms_y < terms_x * (terms_y - y)]
    mean, waves = float(kept[0]), kept[1:]
    largest = float(np.abs(waves).max())
    if largest < _ROUNDING_NOISE:
        return mean, 0.0, np.zeros_like(waves)
    return mean, largest, 0.5 + 0.5 / largest * waves


_ROUNDING_NOISE = 1e-12
"""What is left of the terms of a plain picture, scaled up, would make its hash a random one."""


def _rounded(value: float) -> int:
    """Halves upwards, as JavaScript does."""
    return math.floor(value + 0.5)
