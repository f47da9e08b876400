"""What a decoded picture shows, looked at once for all its renditions and only when one asks."""

from dataclasses import dataclass, field, replace

from PIL import Image

from omnishot_ray.imaging.color import to_srgb
from omnishot_ray.imaging.faces import (
    GLANCED_SIDE,
    SEARCHED_SIDE,
    detector_present,
    find_heads,
)
from omnishot_ray.imaging.geometry import Box, Crop, Orientation, Plan, Size
from omnishot_ray.imaging.gravity import ANALYSED_SIDE, Interest, attend, find_interest, small_copy
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.transform import turn

_WORTH_LOOKING = 0.02
"""A smaller share of a side than this is cut off in the middle, unseen."""


@dataclass(slots=True)
class Sight:
    """The decoded pixels as stored, and what was found in them so far."""

    image: Image.Image
    orientation: Orientation
    icc_profile: bytes | None
    _found: dict[tuple[str, int], Interest | None] = field(default_factory=dict)

    def aim(
        self, plan: Plan, full: Size, options: Options, content: Crop | None = None
    ) -> tuple[Plan, str | None]:
        """Place the crop of a plan where its gravity says, if pixels decide that.

        `full` is the upright, turned size that the plan counts in; `content` what the crop has to
        stay in, all of it when None. Returns the plan and what decided: `face`, `attention`, or
        None when the plan was right without looking.
        """
        x, y, width, height = content or Crop(0, 0, *full)
        gravity = options.resolved_gravity
        size = Size(plan.crop.width, plan.crop.height)
        left = max(1 - size.width / width, 1 - size.height / height)
        if gravity not in ("attention", "face") or left < _WORTH_LOOKING:
            return plan, None
        interest = self._look(gravity, options.rotate)
        if interest is None:
            gravity = "attention"
            interest = self._look(gravity, options.rotate)
        assert interest is not None
        crop = attend(interest, full, size)
        inside = Crop(
            min(max(crop.x, x), x + width - size.width),
            min(max(crop.y, y), y + height - size.height),
            *size,
        )
        return replace(plan, crop=inside), gravity

    def _look(self, gravity: str, rotate: int) -> Interest | None:
        """The interest of the turned picture; None where `face` finds no face."""
        key = gravity, rotate
        if key not in self._found:
            self._found[key] = self._faces(rotate) if gravity == "face" else self._attention(rotate)
        return self._found[key]

    def _attention(self, rotate: int) -> Interest:
        small = self._small(ANALYSED_SIDE, rotate)
        return find_interest(small, _heads(small_copy(small, GLANCED_SIDE), small))

    def _faces(self, rotate: int) -> Interest | None:
        if not detector_present():
            return None
        searched = self._small(SEARCHED_SIDE, rotate)
        small = small_copy(searched)
        heads = _heads(searched, small)
        return find_interest(small, heads) if heads else None

    def _small(self, side: int, rotate: int) -> Image.Image:
        """A small copy as the rendition will show it: upright, turned, in sRGB."""
        small = small_copy(self.image, side)
        return to_srgb(turn(small, self.orientation.then_rotated(rotate)), self.icc_profile)


def _heads(searched: Image.Image, shown: Image.Image) -> list[Box]:
    """The heads in one copy of a picture, in pixels of another."""
    x, y = shown.width / searched.width, shown.height / searched.height
    return [
        Box(left * x, top * y, right * x, bottom * y)
        for left, top, right, bottom in find_heads(searched)
    ]
