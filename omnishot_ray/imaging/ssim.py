"""Structural similarity of two pictures: how much of what the eye follows has survived."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_CELL = 4


def ssim(reference: Image.Image, candidate: Image.Image) -> float:
    """Mean SSIM of the luma of two pictures of one size; 1.0 when they are equal.

    Z. Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE
    Transactions on Image Processing 13 (2004), equation 13, over uniform windows of 8×8 pixels in
    steps of 4, as video encoders compute it. A side below 8 pixels is stretched to 8.
    """
    one, other = _luma(reference), _luma(candidate)
    cells = one.shape[0] // _CELL
    total, windows = 0.0, 0
    for first in range(0, cells - 1, _STRIP_CELLS):
        rows = slice(first * _CELL, (first + _STRIP_CELLS + 1) * _CELL)
        similarity = _similarity(one[rows].astype(np.float32), other[rows].astype(np.float32))
        total += float(similarity.sum(dtype=np.float64))
        windows += similarity.size
    return total / windows


_STRIP_CELLS = 16
"""Rows of windows compared at once: the sums take some forty bytes for a pixel, and stay in the
cache like this."""


def _similarity(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    windows = 64.0
    sum_x, sum_y = _window_sums(x), _window_sums(y)
    sum_xy = _window_sums(x * y)
    squares = _window_sums(x * x + y * y)
    mean_x, mean_y = sum_x / windows, sum_y / windows
    covariance = sum_xy / windows - mean_x * mean_y
    variances = squares / windows - mean_x * mean_x - mean_y * mean_y
    similarity = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    similarity /= (mean_x * mean_x + mean_y * mean_y + _C1) * (variances + _C2)
    return similarity


def _luma(image: Image.Image) -> NDArray[np.uint8]:
    if min(image.size) < 2 * _CELL:
        image = image.resize((max(8, image.width), max(8, image.height)), Image.Resampling.NEAREST)
    return np.asarray(image if image.mode == "L" else image.convert("L"))


def _window_sums(values: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = (side - side % _CELL for side in values.shape)
    cells = values[:height, :width].reshape(height // _CELL, _CELL, width // _CELL, _CELL)
    sums: NDArray[np.float32] = cells.sum(axis=(1, 3))
    return sums[:-1, :-1] + sums[1:, :-1] + sums[:-1, 1:] + sums[1:, 1:]
