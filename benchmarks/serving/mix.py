"""What the pool is asked for: core-milliseconds of usual tasks that are too dear for a gateway."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omnishot_ray.imaging.cost import estimate_ms
from omnishot_ray.imaging.header import read_header
from omnishot_ray.imaging.options import parse_options
from omnishot_ray.serving.dispatch import DispatchConfig

DATA = Path(__file__).resolve().parents[2] / "tests" / "data"
PHOTOS = (
    "photo_sharp_benchmark_2725x2225.jpg",
    "photo_tomatoes_2912x4368.jpg",
    "photo_dog_4032x3024_exif6.jpg",
)
_FOUR = ("instagram-post", "facebook-post", "x-post", "pinterest-pin")
WANTED: Mapping[str, tuple[Sequence[Mapping[str, Any]], int]] = {
    # What is wanted of one photo, and how often.
    "thumbnail": ([{"width": 320}], 30),
    "jpeg 1600": ([{"width": 1600}], 20),
    "webp 1600": ([{"width": 1600, "format": "webp"}], 20),
    "four platforms": ([{"platform": name} for name in _FOUR], 15),
    "avif 640": ([{"width": 640, "format": "avif"}], 10),
    "avif 1600": ([{"width": 1600, "format": "avif"}], 4),
    "webp, full size": ([{"format": "webp"}], 1),
}


def pooled_costs() -> tuple[list[float], list[int]]:
    """Core-milliseconds of the tasks that go to the pool, and how often each comes."""
    costs, weights = [], []
    for photo in PHOTOS:
        data = (DATA / photo).read_bytes()
        header = read_header(data)
        for wanted, weight in WANTED.values():
            options = [parse_options(dict(one)) for one in wanted]
            cost = estimate_ms(len(data), header, options)
            if cost >= DispatchConfig().inline_ms:
                costs.append(cost)
                weights.append(weight)
    return costs, weights
