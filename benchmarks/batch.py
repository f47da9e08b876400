"""`omnishot batch` beside its own engine, a Pillow script, a sharp script and img2dataset.

    python -m benchmarks.batch [--count 2000] [--rounds 3] [--widths 400 … | --platforms NAME …]
        [--effort 4] [--to folder] [--workers 2] > FILE.md

One tar of 1-megapixel JPEGs, each with bytes of its own; renditions of the same widths, format and
quality of each, written to files (img2dataset makes one alone; ours to what `--to` says). Platforms
are made by ours and its engine only. They take turns, in every second round the other way round; of
each the median is shown, and of the ratios those within a round. `whole` counts from the start of
the command to its end, `work` without the start of Ray or the interpreter (ours: from the first
picture read to the last one made; scripts time themselves).
The engine is `process` on pictures in memory, in as many processes as there are workers, each with
the settings of malloc that a worker's has. Workers are as many as cores, so Ray's own processes
share their cores; with one less they have one for themselves, as good as on a machine of many.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import psutil
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from benchmarks import machine
from benchmarks.batch_peers.environment import clean, interpreter
from benchmarks.engine import engine_pool
from benchmarks.peers.images import DATA, with_comment
from omnishot_ray.batch.job import OUTPUT_KINDS
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import parse_options
from omnishot_ray.imaging.pipeline import process
from omnishot_ray.imaging.platforms import PLATFORMS

SIDE = (1200, 834)
"""A megapixel."""
QUALITY = 80
ORIGINALS = (
    "photo_dog_4032x3024_exif6.jpg",
    "photo_sharp_benchmark_2725x2225.jpg",
    "photo_tomatoes_2912x4368.jpg",
)
Variants = dict[str, dict[str, Any]]

PEERS = Path(__file__).parent / "batch_peers"
SHARP = Path(__file__).parent / "peers" / "express_sharp" / "node_modules" / "sharp"


@dataclass(frozen=True)
class Measured:
    """One run: seconds in all and of work, bytes written, the most memory of a worker."""

    whole: float
    work: float
    made: int
    bytes: int
    worker_mb: float = 0.0


def make_archive(path: Path, number: int) -> None:
    """So many pictures, the originals in turns."""
    plain = []
    for name in ORIGINALS:
        with Image.open(DATA / name, formats=["JPEG"]) as opened:
            image = opened.convert("RGB").resize(SIDE, Image.Resampling.LANCZOS)
        sink = io.BytesIO()
        image.save(sink, "JPEG", quality=88)
        plain.append(sink.getvalue())
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for n in range(number):
            data = with_comment(plain[n % len(plain)], str(n).encode())
            item = tarfile.TarInfo(f"{n:06d}.jpg")
            item.size = len(data)
            archive.addfile(item, io.BytesIO(data))


def run_ours(archive: Path, out: Path, variants: Variants, cores: int, to: str) -> Measured:
    """The command, as a user types it."""
    wanted = archive.with_suffix(".yaml")
    wanted.write_text(json.dumps(variants))  # which is YAML
    command = [
        sys.executable, "-m", "omnishot_ray.cli", "batch", str(archive), str(out),
        "--variants", str(wanted), "--workers", str(cores), "--to", to,
    ]  # fmt: skip
    began = perf_counter()
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    worker_mb = _watch_workers(run)
    whole = perf_counter() - began
    if run.returncode:
        raise RuntimeError(f"omnishot batch ended with {run.returncode}")
    times = pq.read_table(out / "timings.parquet")
    ends = pc.min_max(times.column("finished_at")).as_py()
    made = pq.read_table(out / "manifest.parquet", columns=["bytes_out"]).column("bytes_out")
    first = times.sort_by("finished_at").column("total_ms")[0].as_py() / 1000
    return Measured(
        whole, ends["max"] - ends["min"] + first, len(made), pc.sum(made).as_py(), worker_mb
    )


def _watch_workers(run: subprocess.Popen[bytes]) -> float:
    """The most that one worker took with its engine's process, in MB, until the command ends."""
    most = 0.0
    while run.poll() is None:
        try:
            for child in psutil.Process(run.pid).children(recursive=True):
                if "MapWorker" in " ".join(child.cmdline()[:1]):
                    family = [child, *child.children()]
                    most = max(most, sum(one.memory_info().rss for one in family) / 1e6)
        except psutil.Error:
            pass
        try:
            run.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            continue
    return most


def run_script(command: list[str], environment: dict[str, str]) -> Measured:
    """A peer that says its own seconds as JSON on its last line."""
    began = perf_counter()
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    whole = perf_counter() - began
    said: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return Measured(whole, said["seconds"], said["made"], said["bytes"])


def variants_of(widths: Sequence[int], effort: int, platforms: Sequence[str] = ()) -> Variants:
    """The renditions, by name: platforms, or if there are none widths."""
    given = {"format": "jpeg", "quality": QUALITY, "effort": effort}
    if platforms:
        return {name: {"platform": name, **given} for name in platforms}
    return {f"w{width}": {"width": width, **given} for width in widths}


def run_pillow(
    python: Path, archive: Path, out: Path, widths: Sequence[int], cores: int
) -> Measured:
    """Multiprocessing and stock Pillow."""
    script = [str(python), str(PEERS / "pillow_pool.py"), str(archive), str(out)]
    return run_script([*script, _listed(widths), str(QUALITY), str(cores)], clean())


def run_sharp(archive: Path, out: Path, widths: Sequence[int], cores: int) -> Measured:
    """A node script."""
    script = ["node", str(PEERS / "sharp_tar.mjs"), str(SHARP), str(archive), str(out)]
    environment = {**clean(), "UV_THREADPOOL_SIZE": str(cores)}
    return run_script([*script, _listed(widths), str(QUALITY), str(cores)], environment)


def _listed(widths: Sequence[int]) -> str:
    return ",".join(map(str, widths))


def run_img2dataset(python: Path, archive: Path, out: Path, width: int, cores: int) -> Measured:
    """Reads addresses alone, so a server on loopback hands out the unpacked archive."""
    folder = archive.with_suffix("")
    if not folder.exists():
        with tarfile.open(archive) as tar:
            tar.extractall(folder)  # our own
    handler = partial(_Quiet, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    listing = archive.with_suffix(".txt")
    base = f"http://127.0.0.1:{server.server_address[1]}"
    listing.write_text("".join(f"{base}/{path.name}\n" for path in sorted(folder.iterdir())))
    try:
        began = perf_counter()
        subprocess.run(
            [
                str(python.with_name("img2dataset")),
                f"--url_list={listing}",
                f"--output_folder={out}",
                f"--image_size={width}",
                "--resize_mode=keep_ratio",
                f"--encode_quality={QUALITY}",
                f"--processes_count={cores}",
                "--thread_count=8",
            ],
            check=True,
            env=clean(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        whole = perf_counter() - began
    finally:
        server.shutdown()
        server.server_close()
    made = list(out.rglob("*.jpg"))
    return Measured(whole, whole, len(made), sum(path.stat().st_size for path in made))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""
        del format, args


def run_engine(archive: Path, variants: Variants, cores: int) -> Measured:
    """The pure core: pictures in memory, nothing written."""
    with engine_pool(cores) as pool:
        began = perf_counter()
        shares = pool.map(partial(_process_share, archive, variants, cores), range(cores))
        results = list(shares)
        whole = perf_counter() - began
    work = max(seconds for seconds, _, _ in results)
    return Measured(whole, work, sum(made for _, made, _ in results), sum(b for _, _, b in results))


def _process_share(
    archive: Path, variants: Variants, cores: int, first: int
) -> tuple[float, int, int]:
    options = tuple(map(parse_options, variants.values()))
    pictures = []
    with tarfile.open(archive) as tar:
        for number, item in zip(count(), tar, strict=False):
            file = tar.extractfile(item) if number % cores == first else None
            if file:
                pictures.append(file.read())
    size = 0
    began = perf_counter()
    for data in pictures:
        size += sum(
            len(getattr(m, "data", b"")) for m in process(data, options, Limits()).renditions
        )
    return perf_counter() - began, len(pictures) * len(options), size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.add_mutually_exclusive_group()
    wanted.add_argument("--widths", type=int, nargs="+", default=[400])
    wanted.add_argument("--platforms", nargs="+", choices=PLATFORMS, default=[], metavar="NAME")
    parser.add_argument("--effort", type=int, default=4)
    parser.add_argument("--to", choices=OUTPUT_KINDS, default="folder")
    parser.add_argument("--workers", type=int, help="default: one for each core")
    parser.add_argument("--without-peers", action="store_true", help="ours and its engine alone")
    parser.add_argument("--folder", type=Path, help="where to work; default a temporary folder")
    given = parser.parse_args()
    workers = given.workers or len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        _compare(Path(folder), given, workers)


def _compare(folder: Path, given: argparse.Namespace, workers: int) -> None:
    number, rounds, widths = given.count, given.rounds, given.widths
    variants = variants_of(widths, given.effort, given.platforms)
    archive = folder / "pictures.tar"
    make_archive(archive, number)
    contestants: dict[str, Callable[[Path], Measured]] = {
        "engine alone": lambda _: run_engine(archive, variants, workers),
        "omnishot batch": lambda out: run_ours(archive, out, variants, workers, given.to),
    }
    if not (given.without_peers or given.platforms):
        contestants |= _peers(archive, widths, workers)
    runs: dict[str, list[Measured]] = {name: [] for name in contestants}
    for number_of_round in range(rounds):
        for name, run in list(contestants.items())[:: -1 if number_of_round % 2 else 1]:
            out = folder / f"out-{number_of_round}"
            measured = run(out)
            shutil.rmtree(out, ignore_errors=True)
            if measured.made != number * len(variants):
                raise RuntimeError(f"{name} made {measured.made} for {number}")
            runs[name].append(measured)
            print(f"{name}: {measured}", file=sys.stderr, flush=True)
    print(machine.page_head("Batch beside scripts"))
    print(
        f"{number} JPEGs of {SIDE[0]}×{SIDE[1]} in a tar of {archive.stat().st_size / 1e6:.0f} MB "
        f"→ {', '.join(given.platforms) or f'{_listed(widths)} px'} as JPEG, quality {QUALITY}, "
        f"effort {given.effort}, to {given.to}; "
        f"median of {rounds} rounds, {workers} workers.\n"
    )
    ours = [one.work for one in runs["omnishot batch"]]
    print("| | work, s | whole, s | pictures/s | bytes each | omnishot / it | worker, MB |")
    print("|---|---|---|---|---|---|---|")
    for name, several in runs.items():
        work = _median(several, "work")
        ratios = sorted(it.work / our for it, our in zip(several, ours, strict=True))
        print(
            f"| {name} | {work:.1f} | {_median(several, 'whole'):.1f} | {number / work:.1f} "
            f"| {several[0].bytes / number:,.0f} "
            f"| {median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f}) "
            f"| {max(one.worker_mb for one in several) or '':.4} |"
        )


def _peers(
    archive: Path, widths: Sequence[int], cores: int
) -> dict[str, Callable[[Path], Measured]]:
    contestants: dict[str, Callable[[Path], Measured]] = {}
    pillow = interpreter("batch-pillow", "pillow>=12")
    if pillow:
        contestants["multiprocessing + Pillow"] = lambda out: run_pillow(
            pillow, archive, out, widths, cores
        )
    if SHARP.exists():
        contestants["sharp script"] = lambda out: run_sharp(archive, out, widths, cores)
    img2dataset = interpreter("batch-img2dataset", "img2dataset", "setuptools<81")
    if img2dataset and len(widths) == 1:
        contestants["img2dataset"] = lambda out: run_img2dataset(
            img2dataset, archive, out, widths[0], cores
        )
    return contestants


def _median(several: list[Measured], name: str) -> float:
    return median(getattr(one, name) for one in several)


if __name__ == "__main__":
    main()
