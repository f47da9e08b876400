"""Sizes, crop boxes and orientation: all arithmetic on coordinates, none on pixels.

Everything is planned in coordinates of the *upright* picture (EXIF orientation applied), and
carried over to the stored pixels at the end, so the big picture is never turned: only the small
result is. Boxes are `(left, top, right, bottom)`, half open, always inside the picture: Pillow's
`paste` and `crop` trust them.
"""

from dataclasses import dataclass
from typing import NamedTuple

from omnishot_ray.imaging.option_values import read_focal_point
from omnishot_ray.imaging.options import Options


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


class Box(NamedTuple):
    """Left, top, right, bottom in pixels, half open."""

    left: float
    top: float
    right: float
    bottom: float


class Crop(NamedTuple):
    """Left, top, width and height in whole pixels of the upright source."""

    x: int
    y: int
    width: int
    height: int

    @property
    def box(self) -> Box:
        """The same as a box."""
        return Box(self.x, self.y, self.x + self.width, self.y + self.height)


@dataclass(frozen=True, slots=True)
class Plan:
    """How one rendition comes of the (turned) source.

    `crop` of the source is scaled to `scaled` and, when `canvas` is set, pasted on it at `offset`.
    """

    crop: Crop
    scaled: Size
    canvas: Size | None = None
    offset: tuple[int, int] = (0, 0)

    @property
    def output(self) -> Size:
        """Size of the result."""
        return self.canvas or self.scaled

    @property
    def scale(self) -> float:
        """How many pixels one of the source becomes, along the side where it becomes more."""
        return max(self.scaled.width / self.crop.width, self.scaled.height / self.crop.height)


def turned(upright: Size, options: Options) -> Size:
    """The size of an upright picture after the `rotate` of the options."""
    return Size(*reversed(upright)) if options.rotate in (90, 270) else upright


_COMPASS = {
    "center": (0.5, 0.5),
    "north": (0.5, 0.0),
    "northeast": (1.0, 0.0),
    "east": (1.0, 0.5),
    "southeast": (1.0, 1.0),
    "south": (0.5, 1.0),
    "southwest": (0.0, 1.0),
    "west": (0.0, 0.5),
    "northwest": (0.0, 0.0),
    # Until the pixels are seen, and where nothing is cut off.
    "attention": (0.5, 0.5),
    "face": (0.5, 0.5),
}


def plan_rendition(source: Size, options: Options) -> Plan:
    """Plan a rendition of a picture of `source` pixels (upright, and turned by `rotate`)."""
    whole = Crop(0, 0, *source)
    width, height = options.box
    if width is None and height is None:
        return Plan(whole, source)
    fit = options.resolved_fit
    if width is None or height is None:
        # The free side follows the aspect, so every fit comes to the same.
        scale = width / source.width if width else (height or 1) / source.height
        return Plan(whole, _scaled(source, _bounded(scale, options)))
    box = Size(width, height)
    if fit == "fill":
        if not options.enlarge:
            box = Size(min(box.width, source.width), min(box.height, source.height))
        return Plan(whole, box)
    if fit == "cover":
        return _plan_cover(source, box, options)
    ratios = box.width / source.width, box.height / source.height
    scale = max(ratios) if fit == "outside" else min(ratios)
    scaled = _scaled(source, _bounded(scale, options))
    if fit != "contain":
        return Plan(whole, scaled)
    scaled = Size(min(scaled.width, box.width), min(scaled.height, box.height))
    x, y = anchor(options.resolved_gravity)
    offset = (round((box.width - scaled.width) * x), round((box.height - scaled.height) * y))
    return Plan(whole, scaled, box, offset)


def _bounded(scale: float, options: Options) -> float:
    return scale if options.enlarge else min(scale, 1.0)


def _scaled(source: Size, scale: float) -> Size:
    return Size(max(1, round(source.width * scale)), max(1, round(source.height * scale)))


def _plan_cover(source: Size, box: Size, options: Options) -> Plan:
    """The largest box of the asked aspect that the source holds, placed by gravity."""
    if source.width * box.height > source.height * box.width:
        size = Size(
            max(1, min(source.width, round(source.height * box.width / box.height))), source.height
        )
    else:
        size = Size(
            source.width, max(1, min(source.height, round(source.width * box.height / box.width)))
        )
    crop = place(source, size, options.resolved_gravity)
    if not options.enlarge and (box.width > size.width or box.height > size.height):
        return Plan(crop, size)
    return Plan(crop, box)


def anchor(gravity: str) -> tuple[float, float]:
    """A gravity as fractions of the free space left and above."""
    return _COMPASS.get(gravity) or read_focal_point(gravity)


def place(source: Size, size: Size, gravity: str) -> Crop:
    """Where a crop of `size` lies in `source`: by compass, or with a focal point at its middle."""
    free_x, free_y = source.width - size.width, source.height - size.height
    if gravity in _COMPASS:
        x, y = _COMPASS[gravity]
        return Crop(round(free_x * x), round(free_y * y), *size)
    x, y = read_focal_point(gravity)
    left = round(x * source.width - size.width / 2)
    top = round(y * source.height - size.height / 2)
    return Crop(min(max(left, 0), free_x), min(max(top, 0), free_y), *size)


# Orientation. The eight EXIF orientations (CIPA DC-008 §4.6.5.1.A, tag 0x0112) are the symmetries
# of a rectangle: turn clockwise by `quarter` × 90° after mirroring left-right when `mirror`.


class Orientation(NamedTuple):
    """How stored pixels become upright: mirror left-right first, then turn clockwise."""

    mirror: bool = False
    quarters: int = 0

    @property
    def swaps_sides(self) -> bool:
        """Whether width and height change places."""
        return self.quarters % 2 == 1

    def then_rotated(self, degrees: int) -> "Orientation":
        """The same followed by a clockwise turn of a multiple of 90 degrees."""
        return Orientation(self.mirror, (self.quarters + degrees // 90) % 4)

    def applied_to(self, size: Size) -> Size:
        """The size after turning."""
        return Size(size.height, size.width) if self.swaps_sides else size

    def box_before(self, box: Box, after: Size) -> Box:
        """The box in coordinates before turning, of a box in the picture of size `after`."""
        left, top, right, bottom = box
        width, height = after
        for _ in range(self.quarters % 4):  # undo one clockwise quarter: (x, y) → (y, width − x)
            left, top, right, bottom = top, width - right, bottom, width - left
            width, height = height, width
        if self.mirror:
            left, right = width - right, width - left
        return Box(left, top, right, bottom)

    def box_after(self, box: Box, before: Size) -> Box:
        """The box in coordinates after turning, of a box in the picture of size `before`."""
        left, top, right, bottom = box
        width, height = before
        if self.mirror:
            left, right = width - right, width - left
        for _ in range(self.quarters % 4):  # one clockwise quarter: (x, y) → (height − y, x)
            left, top, right, bottom = height - bottom, left, height - top, right
            width, height = height, width
        return Box(left, top, right, bottom)


_EXIF_ORIENTATIONS = {
    1: Orientation(),
    2: Orientation(mirror=True),
    3: Orientation(quarters=2),
    4: Orientation(mirror=True, quarters=2),
    5: Orientation(mirror=True, quarters=3),
    6: Orientation(quarters=1),
    7: Orientation(mirror=True, quarters=1),
    8: Orientation(quarters=3),
}


def exif_orientation(value: object) -> Orientation:
    """The orientation of an EXIF tag's value; anything but 1–8 means upright."""
    return _EXIF_ORIENTATIONS.get(value if isinstance(value, int) else 1, Orientation())
