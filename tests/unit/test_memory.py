"""Large sources do not take large amounts of memory; `benchmarks/memory.py` has all the rows."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.memory import Row, measure
from omnishot_ray.imaging.options import parse_options
from omnishot_ray.imaging.png import write_png
from tests import corpus
from tests.pictures import opened, scene


def test_a_thumbnail_of_fifty_megapixels(tmp_path: Path) -> None:
    """Decoded whole it takes 200 MB, at an eighth 3 MB."""
    path = tmp_path / "large.jpg"
    scene(8660, 1).resize((8660, 5773), Image.Resampling.NEAREST).save(path, "JPEG", quality=50)
    taken = measure(Row("", path, (parse_options({"width": 400, "format": "jpeg"}),)))
    assert taken.source == pytest.approx(8660 / 8 * 5773 / 8 * 4 / 1e6, rel=0.01)
    assert taken.peak < 30.0


@pytest.mark.parametrize(
    ("given", "most"),
    [
        ({"format": "png", "effort": 2}, 5.5),
        ({"format": "png", "effort": 6}, 5.5),
        ({"format": "jpeg", "quality": "auto", "effort": 0}, 5.5),
    ],
    ids=str,
)
def test_results_as_large_as_the_source(
    tmp_path: Path, given: dict[str, object], most: float
) -> None:
    """In decoded sources of 12 MB: 3 to 4 by measurement, 8 to 20 with careless copies."""
    path = tmp_path / "source.png"
    photo = opened(corpus.read("photo_flower_480x360")).resize((2000, 1500))
    path.write_bytes(write_png(np.asarray(photo), 0))
    taken = measure(Row("", path, (parse_options(given),)))
    assert taken.ratio < most
