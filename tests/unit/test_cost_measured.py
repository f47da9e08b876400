"""The estimate against the processor, over pictures and tasks as in `benchmarks/cost.py`.

Machines differ in speed, so only the ratios between tasks are judged: by the median of all.
"""

import time
from collections.abc import Sequence
from statistics import median

from omnishot_ray.imaging.cost import estimate_info_ms, estimate_ms
from omnishot_ray.imaging.header import read_header
from omnishot_ray.imaging.info import describe
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options, parse_options
from omnishot_ray.imaging.pipeline import process
from tests import corpus

PICTURES = (
    "photo_flower_480x360",
    "exif_landscape_orientation_1",
    "exif_landscape_orientation_6",
    "jpeg420_progressive_flower_2268x1512",
    "jpeg_display_p3_gainmap_384x512",
    "photo_sharp_benchmark_2725x2225",
    "photo_dog_4032x3024_exif6",
    "product_jar_on_white_1125x1800_adobergb_icc",
    "png_rgb_16bit_360x182",
    "avif_kodim23_768x512_420_8bit",
    "avif_paris_icc_exif_403x302",
    "cmyk_ycck_swop_icc_500x333",
    "tiff_rgb_scan_425x640",
)
FOUR = ("instagram-post", "facebook-post", "x-post", "pinterest-pin")
WANTED: tuple[tuple[Options, ...], ...] = (
    (),  # a description
    (Options(width=64, height=64, gravity="center", format="jpeg"),),
    (Options(width=200, format="jpeg", effort=2),),
    (Options(width=400, format="jpeg"),),
    (Options(width=400, format="jpeg", effort=6),),
    (Options(width=400, format="webp", effort=2),),
    (Options(width=400, format="webp"),),
    (Options(width=400, format="png"),),
    (Options(width=1080, height=1080, fit="inside", format="jpeg"),),
    (Options(width=800, format="jpeg", effort=0, sharpen=1.0),),
    tuple(parse_options({"platform": name, "quality": 85}) for name in FOUR),
)
WITHIN, SHARE = 0.3, 0.9
MOST_ROUNDS = 6


def test_most_tasks_take_what_was_estimated() -> None:
    tasks = [(corpus.read(name), wanted) for name in PICTURES for wanted in WANTED]
    estimates = [_estimate(data, wanted) for data, wanted in tasks]
    best = [float("inf")] * len(tasks)
    share = 0.0
    for _ in range(MOST_ROUNDS):  # what else runs on the machine disturbs now one, now another
        best = [min(ms, _measure(*task)) for ms, task in zip(best, tasks, strict=True)]
        ratios = [estimate / ms for estimate, ms in zip(estimates, best, strict=True)]
        usual = median(ratios)
        share = sum(abs(ratio / usual - 1) <= WITHIN for ratio in ratios) / len(ratios)
        if share >= SHARE:
            break
    assert share >= SHARE


def _estimate(data: bytes, wanted: Sequence[Options]) -> float:
    header = read_header(data)
    if not wanted:
        return estimate_info_ms(len(data), header)
    return estimate_ms(len(data), header, wanted)


def _measure(data: bytes, wanted: Sequence[Options]) -> float:
    """Milliseconds of CPU of this process."""
    started = time.process_time()
    if wanted:
        process(data, wanted, Limits())
    else:
        describe(data, Limits())
    return (time.process_time() - started) * 1000
