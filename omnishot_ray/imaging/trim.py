"""Plain borders found, so that a rendition is planned from what is inside them."""

from PIL import Image, ImageChops

from omnishot_ray.imaging.decode import Decoded
from omnishot_ray.imaging.geometry import Box, Crop, Orientation, Size


def find_content(decoded: Decoded, stored: Size, threshold: float) -> Box:
    """The box, in pixels of the whole stored picture, of what differs from the top left pixel.

    A pixel differs when any of its channels does by more than `threshold` (0–255), transparent
    pixels being alike whatever their colour. The whole picture when all of it is alike.
    """
    image = decoded.image
    whole = Box(0, 0, *stored)
    if image.mode in ("RGBA", "LA"):
        image = image.convert("RGBA").convert("RGBa")
    corner = Image.new(image.mode, (1, 1))
    corner.paste(image.crop((0, 0, 1, 1)))
    difference = ImageChops.difference(_raw(image), _raw(corner.resize(image.size)))
    alike = [255 * (level > threshold) for level in range(256)] * len(difference.getbands())
    found = difference.point(alike).getbbox()
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


def _raw(image: Image.Image) -> Image.Image:
    """The same bytes under a mode that ImageChops takes and whose alpha means nothing to it."""
    return Image.merge("CMYK", image.split()) if len(image.getbands()) == 4 else image


def as_crop(content: Box, orientation: Orientation, stored: Size) -> Crop:
    """The box in whole pixels of the upright and turned picture."""
    left, top, right, bottom = orientation.box_after(content, stored)
    x, y = int(left), int(top)
    return Crop(x, y, max(1, round(right) - x), max(1, round(bottom) - y))
