"""What is behind a picture: behind padding, and behind transparency where a format has none."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from omnishot_ray.imaging.color import in_mode

_BLUR_SIDE = 48
"""Pixels of the longer side of the copy that is blurred: what is left of it shows no detail."""
_BLUR_SIGMA = 2.5


def make_canvas(image: Image.Image, size: tuple[int, int], background: str) -> Image.Image:
    """An `RGB` canvas of `size` to paste `image` on.

    `background` is six hexadecimal digits, `auto` for the colour of the picture's edge, or `blur`
    for the picture itself, covering the canvas and blurred.
    """
    if background == "blur":
        return _blurred(in_mode(flatten(image, "auto"), "RGB"), size)
    if background == "auto":
        return Image.new("RGB", size, edge_colour(image))
    return Image.new("RGB", size, parse_colour(background))


def flatten(image: Image.Image, background: str) -> Image.Image:
    """Put a picture with transparency on a plain colour; others are returned as they are.

    A blurred copy behind transparency would need colours that are not there: `blur` is `auto`.
    """
    if image.mode not in ("RGBA", "LA"):
        return image
    plain = "auto" if background == "blur" else background
    canvas = make_canvas(image, image.size, plain)
    canvas.paste(in_mode(image, "RGBA"), mask=image.getchannel("A"))
    return canvas


def edge_colour(image: Image.Image) -> tuple[int, int, int]:
    """The median colour of the outermost pixels, those that can be seen; white when none can."""
    width, height = image.size
    sides = (
        (0, 0, width, 1),
        (0, height - 1, width, height),
        (0, 1, 1, height - 1),
        (width - 1, 1, width, height - 1),
    )
    edge = np.concatenate([_pixels(image, box) for box in sides if box[1] < box[3]])
    visible = edge[edge[:, 3] > 127]
    if not len(visible):
        return (255, 255, 255)
    red, green, blue = (int(value) for value in np.median(visible[:, :3], axis=0))
    return red, green, blue


def _pixels(image: Image.Image, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    return np.asarray(in_mode(image.crop(box), "RGBA")).reshape(-1, 4)


def _blurred(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scaled down, blurred there, and scaled up: the cost is that of the last step."""
    width, height = size
    scale = min(1.0, _BLUR_SIDE / max(size))
    small = max(1, round(width * scale)), max(1, round(height * scale))
    aspect = width / height
    crop_width = min(float(image.width), image.height * aspect)
    crop_height = min(float(image.height), crop_width / aspect)
    left, top = (image.width - crop_width) / 2, (image.height - crop_height) / 2
    box = (left, top, left + crop_width, top + crop_height)
    copy = image.resize(small, Image.Resampling.BILINEAR, box=box)
    copy = copy.filter(ImageFilter.GaussianBlur(_BLUR_SIGMA))
    return copy.resize(size, Image.Resampling.BICUBIC)


@lru_cache(maxsize=256)
def parse_colour(digits: str) -> tuple[int, int, int]:
    """`ffffff` as a tuple of three bytes."""
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
