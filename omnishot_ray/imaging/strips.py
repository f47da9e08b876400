"""Large pictures worked on a strip of rows at a time, for what takes many times their memory."""

from collections.abc import Callable

from PIL import Image

_STRIP_ROWS = 256
"""Rows filtered at once of a large picture, without those around them. A filter holds two pictures
beside the one that it is given, and is no slower on strips, which stay in the cache."""


def in_strips(
    image: Image.Image, change: Callable[[Image.Image], Image.Image], reach: int
) -> Image.Image:
    """`change` of the whole picture, made of strips of rows.

    `change` keeps mode and size, and no pixel of its result depends on one more than `reach` rows
    away, so the result is the same.
    """
    rows = max(_STRIP_ROWS, 4 * reach)
    width, height = image.size
    if height <= 2 * rows:
        return change(image)
    result = Image.new(image.mode, image.size, None)
    for top in range(0, height, rows):
        first, bottom = max(0, top - reach), min(height, top + rows)
        strip = change(image.crop((0, first, width, min(height, bottom + reach))))
        result.paste(strip.crop((0, top - first, width, bottom - first)), (0, top))
    return result
