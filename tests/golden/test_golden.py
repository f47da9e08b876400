"""What is made today looks like what was looked at and stored."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.golden.compare import measure
from tests.golden.tasks import REFERENCES, TASKS, Golden
from tests.pictures import noise, opened, scene

OUT = Path(__file__).parents[2] / "out" / "golden"


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_it_looks_like_its_reference(task: Golden) -> None:
    reference = opened(task.reference.read_bytes())
    actual = task.make()
    where = OUT / f"{task.name}.png"
    hint = (
        f"Look at {where} (reference, actual, difference). If it is right, run "
        f"`python -m tests.golden.regenerate {task.name}` and commit the new reference."
    )
    if (actual.size, actual.mode) != (reference.size, reference.mode):
        save_side_by_side(where, reference, actual)
        pytest.fail(f"{reference} became {actual}. {hint}")
    difference = measure(reference, actual)
    if not difference.tolerable:
        save_side_by_side(where, reference, actual)
        pytest.fail(f"{task.name}: {difference}. {hint}")


def save_side_by_side(where: Path, *images: Image.Image) -> None:
    """The pictures next to each other, with their difference made visible if they match in size."""
    panels = [image.convert("RGB") for image in images]
    if len({panel.size for panel in panels}) == 1:
        first, second = (np.asarray(panel, dtype=np.int16) for panel in panels)
        panels.append(Image.fromarray((np.abs(first - second) * 8).clip(0, 255).astype(np.uint8)))
    width = sum(panel.width for panel in panels)
    sheet = Image.new("RGB", (width, max(panel.height for panel in panels)))
    left = 0
    for panel in panels:
        sheet.paste(panel, (left, 0))
        left += panel.width
    where.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(where)


def test_every_reference_has_its_task_and_is_small() -> None:
    stored = list(REFERENCES.iterdir())
    assert {path.name for path in stored} == {task.reference.name for task in TASKS}
    assert sum(path.stat().st_size for path in stored) < 1_000_000
    assert all(opened(path.read_bytes()).width <= 200 for path in stored)


# The measure itself: what it lets pass, and what not.


def picture() -> Image.Image:
    """Soft shapes with some grain."""
    grain = np.asarray(noise(96, 64).resize((12, 8)).resize((96, 64), Image.Resampling.BICUBIC))
    soft = np.asarray(scene(96, 64)) * 0.5 + grain * 0.5
    return Image.fromarray(soft.astype(np.uint8))


def test_a_picture_is_like_itself_and_like_a_good_jpeg_of_itself() -> None:
    itself = measure(picture(), picture())
    assert (itself.mean, itself.worst, itself.similarity) == (0, 0, 1)
    slightly = np.asarray(picture()) + np.asarray(noise(96, 64, seed=2)) % 4
    assert measure(picture(), Image.fromarray(slightly.astype(np.uint8))).tolerable


def shifted(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.roll(np.asarray(image), 1, axis=1))


def tinted(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image) * (1.0, 1.0, 0.9)).astype(np.uint8))


def without_a_corner(image: Image.Image) -> Image.Image:
    image.paste((255, 255, 255), (0, 0, 8, 8))
    return image


def mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


@pytest.mark.parametrize("change", [shifted, tinted, without_a_corner, mirrored])
def test_what_an_eye_sees_is_not_tolerable(change: object) -> None:
    assert callable(change)
    assert not measure(picture(), change(picture())).tolerable
