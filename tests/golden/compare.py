"""How far two pictures are apart for the eye, and whether that is too far."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BLOCK = 8
"""Pixels a side of the blocks in which pictures are compared."""

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """What lies between two pictures.

    `mean` is the mean absolute difference of the channels in steps of 0–255, `worst` the same in
    the worst block; `similarity` is the mean structural similarity (SSIM) of the blocks, 1 at most.
    """

    mean: float
    worst: float
    similarity: float

    @property
    def tolerable(self) -> bool:
        """Another encoder version passes; a shift by a pixel, a tint or a lost corner do not."""
        return self.mean <= 2.5 and self.worst <= 20 and self.similarity >= 0.95

    def __str__(self) -> str:
        return (
            f"mean difference {self.mean:.2f} (at most 2.5), in the worst block {self.worst:.1f} "
            f"(at most 20), similarity {self.similarity:.4f} (at least 0.95)"
        )


def measure(one: Image.Image, other: Image.Image) -> Difference:
    """Compare two pictures of one size and mode."""
    assert (one.size, one.mode) == (other.size, other.mode)
    first, second = _channels(one), _channels(other)
    apart = _blocks(np.abs(first - second))
    return Difference(
        mean=float(np.abs(first - second).mean()),
        worst=float(apart.mean(axis=(-2, -1)).max()),
        similarity=float(_ssim(_blocks(first), _blocks(second)).mean()),
    )


def _channels(image: Image.Image) -> Values:
    """Channels first. What is transparent has no colour."""
    if image.mode == "RGBA":
        image = image.convert("RGBa")
    return np.moveaxis(np.asarray(image, dtype=np.float64), -1, 0)


def _blocks(channels: Values) -> Values:
    """Channels × rows × columns of blocks; edges are continued to fill the last ones."""
    _, height, width = channels.shape
    padding = ((0, 0), (0, -height % BLOCK), (0, -width % BLOCK))
    padded = np.pad(channels, padding, mode="edge")
    count, height, width = padded.shape
    grid = padded.reshape(count, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return grid.transpose(0, 1, 3, 2, 4)


def _ssim(one: Values, other: Values) -> Values:
    """SSIM of each pair of blocks (Wang et al. 2004, with their constants)."""
    small, smaller = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    axes = (-2, -1)
    mean_one, mean_other = one.mean(axis=axes), other.mean(axis=axes)
    covariance = (one * other).mean(axis=axes) - mean_one * mean_other
    brightness = (2 * mean_one * mean_other + small) / (mean_one**2 + mean_other**2 + small)
    structure = (2 * covariance + smaller) / (one.var(axis=axes) + other.var(axis=axes) + smaller)
    result: Values = brightness * structure
    return result
