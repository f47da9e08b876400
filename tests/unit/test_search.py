"""Similarity, and the qualities that wishes about a result come to."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from omnishot_ray.errors import LimitExceeded
from omnishot_ray.imaging.encode import encode
from omnishot_ray.imaging.formats import LOSSY, Format
from omnishot_ray.imaging.options import Options
from omnishot_ray.imaging.search import largest_within
from omnishot_ray.imaging.ssim import ssim
from tests import corpus
from tests.pictures import opened, scene

PHOTO = opened(corpus.read("avif_kodim23_768x512_420_8bit")).convert("RGB")


def reference_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """The same index window by window, as the paper's equation 13 reads."""
    values = []
    for top in range(0, x.shape[0] - 7, 4):
        for left in range(0, x.shape[1] - 7, 4):
            a = x[top : top + 8, left : left + 8].astype(float)
            b = y[top : top + 8, left : left + 8].astype(float)
            covariance = ((a - a.mean()) * (b - b.mean())).mean()
            c1, c2 = 6.5025, 58.5225
            values.append(
                (2 * a.mean() * b.mean() + c1)
                * (2 * covariance + c2)
                / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (a.var() + b.var() + c2))
            )
    return float(np.mean(values))


def test_ssim_is_that_of_the_paper() -> None:
    small = PHOTO.resize((96, 64)).convert("L")
    worse = small.filter(ImageFilter.GaussianBlur(1))
    expected = reference_ssim(np.asarray(small), np.asarray(worse))
    assert ssim(small, worse) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (8, 8), (9, 15), (64, 48)])
def test_a_picture_is_like_itself_whatever_its_size(size: tuple[int, int]) -> None:
    picture = PHOTO.resize(size)
    assert ssim(picture, picture) == pytest.approx(1.0, abs=1e-5)


def test_more_damage_is_less_similar() -> None:
    blurred = [PHOTO.filter(ImageFilter.GaussianBlur(sigma)) for sigma in (0.5, 1, 2, 4)]
    values = [ssim(PHOTO, picture) for picture in blurred]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("format", sorted(LOSSY))
def test_auto_quality_reaches_its_target_and_one_less_does_not(format: Format) -> None:
    picture = PHOTO.resize((240, 160))
    for target in (0.95, 0.985):
        wish = Options(format=format.value, quality="auto", target_ssim=target, effort=2)
        result = opened(encode(picture, format, wish, b""))
        assert ssim(picture, result) >= target
        smaller = Options(format=format.value, quality="auto", target_ssim=target - 0.03, effort=2)
        assert len(encode(picture, format, smaller, b"")) < len(encode(picture, format, wish, b""))


def test_an_unreachable_target_gives_the_highest_quality() -> None:
    noise = Image.effect_noise((64, 64), 120).convert("RGB")
    wish = Options(format="jpeg", quality="auto", target_ssim=1)
    best = encode(noise, Format.JPEG, wish, b"")
    assert best == encode(noise, Format.JPEG, Options(format="jpeg", quality=100), b"")


def test_auto_quality_and_a_size_go_together() -> None:
    wish = Options(format="jpeg", quality="auto", target_ssim=0.99, max_bytes=20_000)
    assert len(encode(PHOTO, Format.JPEG, wish, b"")) <= 20_000


def test_no_quality_fits_in_a_hundred_bytes() -> None:
    with pytest.raises(LimitExceeded, match="100 bytes"):
        encode(scene(400, 300), Format.JPEG, Options(format="jpeg", max_bytes=100), b"")


@pytest.mark.parametrize("limit", [1, 49, 50, 51, 99, 100, 500])
def test_the_largest_within_a_limit_is_found(limit: int) -> None:
    found = largest_within(lambda quality: bytes(quality), 99, limit)
    assert found == bytes(min(99, limit))


def test_nothing_is_found_below_the_smallest() -> None:
    assert largest_within(lambda quality: bytes(quality + 10), 99, 10) is None
