"""The engine alone, without a server, beside sharp alone: core-milliseconds and runs per second.

    python -m benchmarks.engine [--seconds 4] [--rows PART …] [--without-sharp] > FILE.md

The rows of the peer comparison and two more: sharp's PNG task (2048×1536 RGBA) and AVIF. Ours runs
in as many processes as there are cores, sharp in its best setting (`express_sharp/engine.js`):
libuv's four threads, one of libvips for each, decoded once for several sizes. Both with what malloc
is told in our processes, which sharp is no slower with. Crops are ours by attention and sharp's at
the centre, as by default; rows with both at the centre are beside them. They take turns, row by
row, twice.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from time import perf_counter, process_time
from unittest.mock import patch

from PIL import Image

from benchmarks import machine
from benchmarks.peers import images, servers
from omnishot_ray.imaging.allocation import MALLOC
from omnishot_ray.imaging.decode import open_image
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options, parse_options
from omnishot_ray.imaging.pipeline import Rendition, process
from omnishot_ray.imaging.platforms import PLATFORMS

FOUR = ("instagram-post", "facebook-post", "x-post", "pinterest-pin")
PAPER = images.DATA / "valid" / "png_rgba_product_bottle_2160x2160.png"
ROUNDS = 2


@dataclass(frozen=True)
class Task:
    """One row: a photo, what is wanted of it, the same in sharp's words, and the goal."""

    name: str
    photo: str
    wanted: tuple[Options, ...]
    sizes: tuple[tuple[int, int], ...]
    settings: dict[str, object] = field(default_factory=dict)
    target: float | None = None


def _one(width: int, height: int, **given: object) -> dict[str, object]:
    wanted = (parse_options({"width": width, "height": height, **given}),)
    return {"wanted": wanted, "sizes": ((width, height),)}


def _four(effort: int, **more: object) -> dict[str, object]:
    given = {"quality": 85, "effort": effort, "format": "jpeg", **more}
    sizes = tuple((PLATFORMS[name].width or 0, PLATFORMS[name].height or 0) for name in FOUR)
    wanted = tuple(parse_options({"platform": name, **given}) for name in FOUR)
    return {"wanted": wanted, "sizes": sizes}


_Q80, _Q85 = {"quality": 80}, {"quality": 85}
_MOZ80, _MOZ85 = _Q80 | {"mozjpeg": True}, _Q85 | {"mozjpeg": True}


def tasks() -> tuple[Task, ...]:
    jpeg, fast = {"format": "jpeg"}, {"format": "jpeg", "effort": 2}
    return (
        Task("400 → 200 JPEG, effort 2", "400", **_one(200, 200, **fast), settings=_Q80),
        Task("400 → 200 JPEG", "400", **_one(200, 200, **jpeg), settings=_Q80),
        Task(
            "2725×2225 → 720×588 JPEG, effort 2",
            "sharp",
            **_one(720, 588, **fast),
            settings=_Q80,
            target=1.6,
        ),
        Task("2725×2225 → 720×588 JPEG", "sharp", **_one(720, 588, **jpeg), settings=_Q80),
        Task(
            "2725×2225 → 720×588 JPEG, mozjpeg", "sharp", **_one(720, 588, **jpeg), settings=_MOZ80
        ),
        Task(
            "PNG 2048×1536 RGBA → 720×540 PNG",
            "png",
            **_one(720, 540, format="png"),
            target=1.5,
        ),
        Task("800 → 300 WebP", "800", **_one(300, 300, format="webp"), settings=_Q80, target=1.3),
        Task(
            "800 → 300 AVIF, equal score",
            "800",
            **_one(300, 300, format="avif", quality=OUR_AVIF_QUALITY),
            settings={"quality": SHARP_AVIF_QUALITY},
            target=5.0,
        ),
        Task("1600 → 4 platforms, effort 2", "1600", **_four(2), settings=_Q85, target=3.0),
        Task(
            "1600 → 4 platforms, effort 2, centre",
            "1600",
            **_four(2, gravity="center"),
            settings=_Q85,
            target=3.0,
        ),
        Task("1600 → 4 platforms", "1600", **_four(4), settings=_Q85),
        Task("1600 → 4 platforms, mozjpeg", "1600", **_four(4), settings=_MOZ85),
        Task("3200 → 4 platforms, effort 2", "3200", **_four(2), settings=_Q85, target=3.0),
        Task(
            "3200 → 4 platforms, effort 2, centre",
            "3200",
            **_four(2, gravity="center"),
            settings=_Q85,
            target=3.0,
        ),
    )


SHARP_AVIF_QUALITY = 50
OUR_AVIF_QUALITY = 56
"""Our quality whose mean SSIMULACRA2 is that of sharp's default (`benchmarks/quality`)."""


@dataclass
class Measured:
    """Figures of one side: bytes of all results, core-milliseconds of one run, runs a second."""

    bytes: int
    ms: float
    rate: float
    one_process: float = 0.0


def measure_ours(task: Task, file: Path, seconds: float, pool: ProcessPoolExecutor) -> Measured:
    """Core-ms of the fastest run, runs a second of one process and of all of them at once."""
    data, cores = file.read_bytes(), _cores()
    best, made = pool.submit(fastest_run, data, task.wanted, seconds / 2).result()
    alone = pool.submit(run_for, data, task.wanted, seconds / 2).result() / (seconds / 2)
    runs = [pool.submit(run_for, data, task.wanted, seconds) for _ in range(cores)]
    return Measured(made, best, sum(run.result() for run in runs) / seconds, alone)


@contextmanager
def engine_pool(cores: int) -> Iterator[ProcessPoolExecutor]:
    """Processes with the memory settings of replicas, which malloc reads when they start."""
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        with patch.dict(os.environ, MALLOC):
            list(pool.map(abs, range(4 * cores)))
        yield pool


def fastest_run(data: bytes, wanted: Sequence[Options], seconds: float) -> tuple[float, int]:
    """Milliseconds of CPU of the fastest of the runs that fit, and the bytes of its results."""
    best, deadline = float("inf"), perf_counter() + seconds
    while True:
        started = process_time()
        result = process(data, wanted, Limits())
        best = min(best, (process_time() - started) * 1000)
        if perf_counter() > deadline:
            made = [one for one in result.renditions if isinstance(one, Rendition)]
            assert len(made) == len(wanted), result.renditions
            return best, sum(len(one.data) for one in made)


def run_for(data: bytes, wanted: Sequence[Options], seconds: float) -> float:
    """How many runs are done in a time, the last one by its part."""
    started, done, last = perf_counter(), 0, 0.0
    while True:
        process(data, wanted, Limits())
        done += 1
        now = perf_counter() - started
        if now > seconds:
            return done - (now - seconds) / (now - last)
        last = now


def measure_sharp(task: Task, file: Path, seconds: float) -> Measured:
    """The same by `express_sharp/engine.js`, a new process each time."""
    order = {
        "name": task.name,
        "file": str(file),
        "format": task.wanted[0].format,
        "settings": task.settings,
        "sizes": task.sizes,
    }
    run = subprocess.run(
        [shutil.which("node") or "node", "engine.js"],
        cwd=servers.PEER_FOLDER,
        input=json.dumps({"seconds": seconds, "tasks": [order]}),
        capture_output=True,
        text=True,
        check=True,
        env={k: v for k, v in os.environ.items() if k not in servers.PEER_UNSET} | MALLOC,
    )
    answer = json.loads(run.stdout)
    return Measured(answer["bytes"], answer["ms"], answer["rate"])


def prepare() -> dict[str, Path]:
    """The photos by name, those of the peer comparison and the PNG."""
    files = {name: photo.path for name, photo in images.prepare().items()}
    files["png"] = images.CACHE / "rgba_2048x1536.png"
    if not files["png"].exists():
        picture = open_image(PAPER.read_bytes(), Format.PNG).convert("RGBA")
        sink = io.BytesIO()
        picture.resize((2048, 1536), Image.Resampling.BICUBIC).save(sink, "PNG")
        files["png"].write_bytes(sink.getvalue())
    return files


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="a row, a side, a round")
    parser.add_argument("--rows", nargs="+", metavar="PART", help="only rows with this in the name")
    parser.add_argument("--without-sharp", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    chosen = [
        task
        for task in tasks()
        if not given.rows or any(part.lower() in task.name.lower() for part in given.rows)
    ]
    if not given.without_sharp and not (servers.PEER_FOLDER / "node_modules").is_dir():
        servers.install_peer()
    files, rows = prepare(), []
    print(machine.page_head("The engine beside sharp, without servers"))
    print(
        f"| task | ours core-ms | ours 1×/s | ours {_cores()}×/s | sharp core-ms | sharp/s | ratio "
        "| target | ours bytes | sharp bytes |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    )
    with engine_pool(_cores()) as pool:
        for task in chosen:
            file, ours, theirs = files[task.photo], [], []
            for _ in range(ROUNDS):
                ours.append(measure_ours(task, file, given.seconds / ROUNDS, pool))
                if not given.without_sharp:
                    theirs.append(measure_sharp(task, file, given.seconds / ROUNDS))
            rows.append({"task": task.name, "target": task.target} | _row(ours, theirs))
            print(_line(task, rows[-1]), flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")
    missed = [
        row["task"] for row in rows if row.get("ratio") and row["ratio"] < (row["target"] or 0)
    ]
    return 1 if missed else 0


def _row(ours: Sequence[Measured], theirs: Sequence[Measured]) -> dict[str, object]:
    row: dict[str, object] = {"ours": _merge(ours)}
    if theirs:
        row["sharp"] = _merge(theirs)
        row["ratio"] = row["ours"]["rate"] / row["sharp"]["rate"]
    return row


def _merge(rounds: Sequence[Measured]) -> dict[str, float]:
    merged = asdict(rounds[0])
    merged["ms"] = min(one.ms for one in rounds)
    merged["rate"] = mean(one.rate for one in rounds)
    merged["one_process"] = mean(one.one_process for one in rounds)
    return merged


def _line(task: Task, row: dict[str, object]) -> str:
    ours, theirs = row["ours"], row.get("sharp")
    cells = [f"{ours['ms']:.1f}", f"{ours['one_process']:.1f}", f"{ours['rate']:.1f}"]
    if theirs:
        cells += [f"{theirs['ms']:.1f}", f"{theirs['rate']:.1f}", f"{row['ratio']:.2f}"]
    else:
        cells += ["", "", ""]
    cells += [f"≥ {task.target}" if task.target else "", f"{ours['bytes']:,.0f}"]
    cells += [f"{theirs['bytes']:,.0f}" if theirs else ""]
    return f"| {task.name} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
