"""Plain borders found, so that a rendition is planned from what is inside them."""

from PIL import Image, ImageChops

from omnishot_ray.imaging.decode import Decoded
from omnishot_ray.imaging.geometry import Box, Crop, Orientation, Size


def find_content(decoded: Decoded, stored: Size, threshold: float) -> Box:
    """The box, in pixels of the whole stored picture, of what differs from the top left pixel.

    A pixel differs when any of its channels does by more than `threshold` (0–255), transparent
    pixels being alike whatever their colour. The whole picture when all of it is alike.
    """
    whole = Box(0, 0, *stored)
    found = _differing(decoded.image, threshold)
    if found is None:
        return whole
    scale_x, scale_y = stored.width / decoded.width, stored.height / decoded.height
    left, top, right, bottom = found
    return Box(
        left * scale_x,
        top * scale_y,
        min(float(stored.width), right * scale_x),
        min(float(stored.height), bottom * scale_y),
    )


_STRIP_ROWS = 256
"""Rows compared at once: a comparison takes seven times the memory of what is compared."""


def _differing(image: Image.Image, threshold: float) -> tuple[int, int, int, int] | None:
    corner = _raw(image.crop((0, 0, 1, 1)))
    alike = [255 * (level > threshold) for level in range(256)] * len(corner.getbands())
    boxes = []
    for top in range(0, image.height, _STRIP_ROWS):
        bottom = min(image.height, top + _STRIP_ROWS)
        strip = _raw(image.crop((0, top, image.width, bottom)))
        box = ImageChops.difference(strip, corner.resize(strip.size)).point(alike).getbbox()
        if box is not None:
            boxes.append((box[0], box[1] + top, box[2], box[3] + top))
    if not boxes:
        return None
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _raw(image: Image.Image) -> Image.Image:
    """Colours times alpha, under a mode that ImageChops takes and whose alpha it does not see."""
    if image.mode in ("RGBA", "LA"):
        image = image.convert("RGBA").convert("RGBa")
    return Image.merge("CMYK", image.split()) if len(image.getbands()) == 4 else image


def as_crop(content: Box, orientation: Orientation, stored: Size) -> Crop:
    """The box in whole pixels of the upright and turned picture."""
    left, top, right, bottom = orientation.box_after(content, stored)
    x, y = int(left), int(top)
    return Crop(x, y, max(1, round(right) - x), max(1, round(bottom) - y))
