"""How often a crop keeps the subject: our gravities, the plain centre, and sharp's strategies.

    python -m benchmarks.gravity [--corpus DIR] [--sharp DIR] > FILE.md

Over the labelled pictures of `tests/data/subjects.csv`; `--corpus` is the folder of those that are
not kept here, `--sharp` one that sharp is installed in (`npm ci` in benchmarks/peers/express_sharp,
which is also the default). What counts as kept is said in `tests/subjects.py`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from PIL import Image

from benchmarks import machine
from omnishot_ray.imaging.background import flatten
from omnishot_ray.imaging.color import to_srgb
from omnishot_ray.imaging.faces import (
    GLANCED_SIDE,
    SEARCHED_SIDE,
    detector_present,
    find_heads,
)
from omnishot_ray.imaging.geometry import Crop, Size, plan_rendition
from omnishot_ray.imaging.gravity import ANALYSED_SIDE, attend, find_interest, small_copy
from omnishot_ray.imaging.transform import turn
from tests.subjects import (
    KEPT,
    LABELLED,
    MOSTLY_KEPT,
    RATIOS,
    Seen,
    cropping_options,
    see,
)

SHARP = machine.ROOT / "benchmarks" / "peers" / "express_sharp"
OURS = ("attention", "face", "center")
SHOWN_SIDE = 1000
"""Long side in pixels of the copies that sharp gets: upright, in sRGB, flattened."""


@dataclass
class Shares:
    """What crops kept, by method, split and ratio."""

    found: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)

    def add(self, method: str, split: str, ratio: str, share: float) -> None:
        """Note what one crop kept."""
        self.found.setdefault((method, split, ratio), []).append(share)

    def passed(self, method: str, split: str, ratio: str | None, mark: float) -> str:
        """How many crops reach the mark, over one ratio or over all."""
        shares = [
            share
            for (by, half, at), some in self.found.items()
            if by == method and half == split and ratio in (None, at)
            for share in some
        ]
        return f"{sum(share >= mark for share in shares) / len(shares):.0%}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--sharp", type=Path, default=SHARP)
    arguments = parser.parse_args()
    present = [(one, path) for one in LABELLED if (path := one.path(arguments.corpus))]
    pictures = [see(one, path) for one, path in present]
    shares, methods = Shares(), [*OURS]
    for seen in pictures:
        for gravity in OURS:
            for ratio, options in cropping_options(seen.size, gravity):
                share = seen.share_kept(seen.crop(options))
                shares.add(gravity, seen.labelled.split, ratio, share)
    version = ""
    if (arguments.sharp / "node_modules" / "sharp").exists():
        version = _measure_sharp(pictures, arguments.sharp, shares)
        methods += ["sharp attention", "sharp entropy"]
    print(machine.page_head("Gravity: how often a crop keeps the subject"))
    print(f"- face detector: {'present' if detector_present() else 'not installed'}")
    print(f"- sharp: {version or 'not measured'}")
    for split in ("held-out", "tune"):
        _print_split(shares, methods, split, [p for p in pictures if p.labelled.split == split])
    _print_times(pictures)
    return 0


def _measure_sharp(pictures: Sequence[Seen], folder: Path, shares: Shares) -> str:
    asked, told = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for number, seen in enumerate(pictures):
            shown = _shown(seen)
            file = Path(scratch) / f"{number}.png"
            shown.save(file, compress_level=1)
            for ratio, options in cropping_options(Size(*shown.size), "center"):
                crop = plan_rendition(Size(*shown.size), options).crop
                asked.append({"file": str(file), "width": crop.width, "height": crop.height})
                told.append((seen, Size(*shown.size), ratio, crop))
        run = subprocess.run(
            ["node", str(Path(__file__).with_name("gravity_sharp.mjs"))],
            input=json.dumps(asked),
            env={**os.environ, "SHARP": str(folder.resolve())},
            capture_output=True,
            text=True,
            check=True,
        )
    answer = json.loads(run.stdout)
    for strategy in ("attention", "entropy"):
        for (seen, size, ratio, crop), (x, y) in zip(told, answer[strategy], strict=True):
            as_shown = Seen(seen.labelled, size, seen.sight)
            share = as_shown.share_kept(Crop(x, y, crop.width, crop.height))
            shares.add(f"sharp {strategy}", seen.labelled.split, ratio, share)
    return str(answer["version"])


def _shown(seen: Seen) -> Image.Image:
    sight = seen.sight
    image = turn(small_copy(sight.image, SHOWN_SIDE), sight.orientation)
    return flatten(to_srgb(image, sight.icc_profile), "ffffff").convert("RGB")


def _print_split(
    shares: Shares, methods: Sequence[str], split: str, pictures: Sequence[Seen]
) -> None:
    print(f"\n## {split}: {len(pictures)} pictures\n")
    columns = [*RATIOS, "all"]
    print(
        f"At least {KEPT:.0%} of what the best crop of that size holds; last column "
        f"{MOSTLY_KEPT:.0%}.\n"
    )
    print("| | " + " | ".join(columns) + f" | all, {MOSTLY_KEPT:.0%} |")
    print("|---|" + "---:|" * (len(columns) + 1))
    for method in methods:
        cells = [
            shares.passed(method, split, None if name == "all" else name, KEPT) for name in columns
        ]
        cells.append(shares.passed(method, split, None, MOSTLY_KEPT))
        print(f"| {method} | " + " | ".join(cells) + " |")


def _print_times(pictures: Sequence[Seen]) -> None:
    small = [_upright(seen, ANALYSED_SIDE) for seen in pictures]
    searched = [_upright(seen, SEARCHED_SIDE) for seen in pictures]
    interests = [find_interest(image) for image in small]
    size = Size(1600, 1000)
    rows = {
        "small copy": [lambda s=s: small_copy(s.sight.image) for s in pictures],
        "saliency": [lambda i=i: find_interest(i) for i in small],
        "place one crop": [lambda i=i: attend(i, size, Size(1000, 1000)) for i in interests],
    }
    if detector_present():
        glanced = [small_copy(image, GLANCED_SIDE) for image in small]
        rows["heads for `attention`"] = [lambda i=i: find_heads(i) for i in glanced]
        rows["heads for `face`"] = [lambda i=i: find_heads(i) for i in searched]
    print("\n## Time\n\nMilliseconds of one core for a picture decoded in full, best of 5.\n")
    print("| step | median | slowest picture |\n|---|---:|---:|")
    for name, calls in rows.items():
        times = [_best_ms(call) for call in calls]
        print(f"| {name} | {median(times):.2f} | {max(times):.2f} |")


def _upright(seen: Seen, side: int) -> Image.Image:
    image = turn(small_copy(seen.sight.image, side), seen.sight.orientation)
    return to_srgb(image, seen.sight.icc_profile)


def _best_ms(call: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        call()
        best = min(best, time.process_time() - started)
    return best * 1000


if __name__ == "__main__":
    sys.exit(main())
