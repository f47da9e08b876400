"""Strip by strip comes out what comes out at once."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from omnishot_ray.imaging import strips, transform
from omnishot_ray.imaging.decode import Decoded
from omnishot_ray.imaging.geometry import Box, Crop, Orientation, Plan, Size
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.transform import render
from tests.pictures import noise, scene


def picture(mode: str, height: int = 1100) -> Image.Image:
    grain = noise(40, height)
    if mode in ("RGBA", "LA"):
        grain.putalpha(noise(40, height, 2).convert("L"))
    return grain.convert(mode)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize(
    "filters", [{"blur": 0.4}, {"blur": 1.0}, {"blur": 7.3}, {"blur": 40.0}, {"sharpen": 1.5}]
)
def test_filters_see_all_that_they_need(
    mode: str, filters: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture(mode)
    decoded, full = Decoded(image, *image.size), Size(*image.size)
    plan = Plan(Crop(0, 0, *full), full)
    made = []
    for rows in (image.height, 32):
        monkeypatch.setattr(strips, "_STRIP_ROWS", rows)
        made.append(render(decoded, full, plan, Orientation(), None, Options(**filters)))
    assert made[0].mode == made[1].mode == mode
    assert np.array_equal(np.asarray(made[0]), np.asarray(made[1]))


def test_small_pictures_are_not_cut() -> None:
    seen = []

    def change(image: Image.Image) -> Image.Image:
        seen.append(image.size)
        return image.filter(ImageFilter.GaussianBlur(1))

    strips.in_strips(picture("RGB", 500), change, 10)
    assert seen == [(40, 500)]


@pytest.mark.parametrize("box", [Box(0, 0, 30, 900), Box(5.25, 100.5, 25.5, 899.25)])
def test_going_down_first_gives_the_same_picture(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    image = scene(30, 900)
    usual = transform._scale(image, Size(200, 90), box)
    monkeypatch.setattr(transform, "_MOST_BETWEEN", 1)
    other = transform._scale(image, Size(200, 90), box)
    apart = np.abs(np.asarray(usual).astype(int) - np.asarray(other))
    assert apart.max() <= 1
