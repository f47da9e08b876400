"""Figures about luma: how sharp a picture is and how much is in it.

Luma is an array of height × width of `uint8`. Both figures depend on the size of the picture, so
they can be compared only between pictures that were scaled to the same box.
"""

import numpy as np
from numpy.typing import NDArray


def measure_sharpness(luma: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian (4 neighbours) of luma 0–255; 0 for a picture without inside.

    Source: Pech-Pacheco, Cristóbal, Chamorro-Martínez, Fernández-Valdivia, "Diatom autofocusing in
    brightfield microscopy: a comparative study", ICPR 2000 (their LAPV).
    """
    if min(luma.shape) < 3:
        return 0.0
    values = luma.astype(np.int16)
    middle = values[1:-1, 1:-1]
    edges = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * middle
    return float(edges.var(dtype=np.float64))


def measure_entropy(luma: NDArray[np.uint8]) -> float:
    """Shannon entropy of the histogram of luma in bits a pixel, 0 to 8.

    Source: Shannon, "A Mathematical Theory of Communication", 1948, §6.
    """
    counts = np.bincount(luma.ravel(), minlength=256)
    shares = counts[counts > 0] / luma.size
    return abs(float(-(shares * np.log2(shares)).sum()))
