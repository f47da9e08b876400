"""Broken files through the whole engine: a named error or a right result, nothing else.

    python -m benchmarks.fuzz [--executions 20000] [--seed 1] [--minutes M]

Every execution makes one file out of the small ones of the corpus (`benchmarks/mutations.py`), and
renditions or a description of it by options drawn from their table. They run in a child process
that may take 1 GiB of address space more than it has at rest, with 10 s for each. An exception that
is no `OmnishotError`, a lack of memory, a result that does not decode to the size it states, a
death by signal and a hang are findings: file and options are saved in out/fuzz/, and the run goes
on in a new child. `--seed` and the number of an execution say all about it: `--only N` repeats one.

`--target png` does the same to the PNG decoder of kornia-rs alone.
"""

import argparse
import io
import multiprocessing
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import kornia_rs.io
import numpy as np
from PIL import Image

from benchmarks import machine, rss
from benchmarks.mutations import Mutator, read_seeds
from omnishot_ray.errors import ContradictoryOptions, OmnishotError
from omnishot_ray.imaging.formats import OUTPUT_FORMATS, Format
from omnishot_ray.imaging.header import read_header
from omnishot_ray.imaging.info import ImageInfo, describe
from omnishot_ray.imaging.limits import Limits, check_header
from omnishot_ray.imaging.option_table import SPECS, OptionSpec
from omnishot_ray.imaging.options import Options, parse_options
from omnishot_ray.imaging.pipeline import FailedRendition, Rendition, Result, process

CORPUS = tuple(machine.ROOT.parent / "shared/corpus" / name for name in ("valid", "hostile"))
"""A larger corpus, where there is one beside the repository."""
OUT = machine.ROOT / "out/fuzz"
MOST_MEMORY = 2**30
DEADLINE_S = 10.0
START_S = 60.0
WARM_UP = 20


class WrongResult(Exception):
    """The engine returned something that is not what it says."""


@dataclass(frozen=True)
class Case:
    """One execution: a file, and the renditions that are wanted; none means a description."""

    data: bytes
    wanted: tuple[Options, ...]


def draw_case(mutator: Mutator, seed: int, number: int) -> Case:
    """The case of that number."""
    random = Random(f"{seed}:{number}")
    data = mutator.draw(random)
    renditions = random.choice((0, 1, 1, 1, 2, 3))
    return Case(data, tuple(draw_options(random) for _ in range(renditions)))


def draw_options(random: Random) -> Options:
    """Options by their table, each with some chance, small enough to be cheap."""
    while True:
        chance = random.choice((0.05, 0.2, 0.5))
        given = {spec.name: _value(random, spec) for spec in SPECS if random.random() < chance}
        given.pop("platform", None)  # large pictures, and nothing that other options do not say
        for side in ("width", "height"):
            if side in given or random.random() < 0.7:
                given[side] = random.choice((1, 2, 7, 16, 33, 64, 96))
        given.pop("dpr", None) if random.random() < 0.7 else None
        if not given.keys() & {"width", "height"}:
            given["effort"] = random.choice((0, 1, 2))  # as large as the source
            given.pop("quality", None)
            given.pop("max_bytes", None)
        try:
            accept = random.sample(OUTPUT_FORMATS, 2) if random.random() < 0.3 else ()
            return parse_options(given, Options(accept=tuple(accept)))
        except ContradictoryOptions:
            continue


_WORDS = {
    "gravity": ("center", "north", "southeast", "fp:0.2,0.9", "fp:1,0"),
    "background": ("auto", "blur", "ff0000"),
}


def _value(random: Random, spec: OptionSpec) -> object:
    if spec.choices:
        return random.choice(spec.choices)
    if spec.word and random.random() < 0.3:
        return spec.word
    if spec.kind == "boolean":
        return random.random() < 0.5
    if spec.minimum is not None and spec.maximum is not None:
        most = min(spec.maximum, 20_000)
        value = random.choice((spec.minimum, most, random.uniform(spec.minimum, most)))
        return round(value) if spec.kind == "integer" else value
    return random.choice(_WORDS.get(spec.name, (spec.example,)))


def run_engine(case: Case) -> str:
    """Run it; the name of what came of it. Whatever else it raises is a finding."""
    limits = Limits()
    try:
        if not case.wanted:
            _check_description(describe(case.data, limits))
            return "described"
        result = process(case.data, case.wanted, limits)
    except OmnishotError as error:
        _look_for_memory(error)
        return error.code
    _check_result(result, case)
    failed = [one for one in result.renditions if isinstance(one, FailedRendition)]
    return "made" if not failed else f"made, but for {failed[0].error.code}"


def _look_for_memory(error: BaseException) -> None:
    """A `MemoryError` is a finding even where it became an error of the picture."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            raise cause
        cause = cause.__cause__ or cause.__context__


def _check_result(result: Result, case: Case) -> None:
    if len(result.renditions) != len(case.wanted):
        raise WrongResult("a rendition is missing")
    for one in result.renditions:
        if isinstance(one, Rendition):
            with Image.open(io.BytesIO(one.data), formats=[one.format.plugin]) as image:
                image.load()
                if image.size != (one.width, one.height):
                    raise WrongResult(f"{image.size} instead of {one.width}×{one.height}")


def _check_description(info: ImageInfo) -> None:
    if not (info.blurhash and info.thumbhash and info.entropy >= 0 and info.sharpness >= 0):
        raise WrongResult("a description without its figures")


def run_png(case: Case) -> str:
    """The PNG decoder of kornia-rs, as it is called behind the limits of the header."""
    try:
        header = read_header(case.data)
        check_header(header, Limits())
    except OmnishotError as error:
        return error.code
    size = header.height, header.width
    known = _pixels_by_pillow(case.data)
    try:
        mode = {1: "mono", 4: "rgba"}.get(header.channels, "rgb")
        pixels = kornia_rs.io.decode_image_png_u8(case.data, size, mode)
    except Exception as error:
        if type(error) not in (Exception, ValueError):
            raise
        return "refused" if known is None else f"refused, {known.shape[2:]} by Pillow"
    if pixels.shape[:2] != size:
        raise WrongResult(f"{pixels.shape} instead of {size}")
    if known is None:
        return "decoded where Pillow refuses"
    if known.size == pixels.size and not np.array_equal(known.ravel(), pixels.ravel()):
        raise WrongResult("other pixels than Pillow's")
    return "decoded"


def _pixels_by_pillow(data: bytes) -> Any:
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            return np.asarray(image)
    except Exception:
        return None


def draw_png(mutator: Mutator, seed: int, number: int) -> Case:
    """The case of that number where only PNGs are asked for."""
    return Case(mutator.draw(Random(f"{seed}:{number}"), Format.PNG), ())


Run = Callable[[Case], str]
Draw = Callable[[int], Case]


@dataclass(frozen=True)
class Report:
    """What a child tells of one execution. `kind` is empty where nothing was found."""

    outcome: str
    kind: str = ""
    ms: float = 0.0
    peak_mb: float = 0.0
    resident_mb: float = 0.0


def run_child(out: Connection, run: Run, draw: Draw, numbers: range) -> None:
    """Run the cases of those numbers one after the other and send a `Report` of each."""
    for number in range(-WARM_UP, 0):  # what is loaded at first use is no part of any case
        run_guarded(run, draw(number))
    most = rss.virtual_bytes() + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    out.send(None)
    for number in numbers:
        out.send(run_guarded(run, draw(number)))


def run_guarded(run: Run, case: Case) -> Report:
    """One execution measured, with its exceptions as findings."""
    before = rss.start_peak()
    started = time.perf_counter()
    try:
        outcome, kind = run(case), ""
    except MemoryError:
        outcome, kind = "MemoryError", "memory"
    except WrongResult as error:
        outcome, kind = f"WrongResult: {error}", "wrong result"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        outcome, kind = f"{type(error).__name__}: {error}"[:300], "exception"
    ms = (time.perf_counter() - started) * 1000
    peak, resident = rss.peak_bytes() - before, rss.resident_bytes()
    return Report(outcome, kind, ms, peak / 1e6, resident / 1e6)


@dataclass
class Tally:
    """All of a run."""

    done: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[int, Report]] = field(default_factory=list)
    slowest: list[tuple[float, int, str]] = field(default_factory=list)
    hungriest: list[tuple[float, int, str]] = field(default_factory=list)
    first_resident_mb: float = 0.0
    last_resident_mb: float = 0.0
    children: int = 0

    def add(self, number: int, report: Report) -> None:
        """Count one report."""
        self.done += 1
        self.outcomes[report.kind or report.outcome] += 1
        self.slowest = sorted([*self.slowest, (report.ms, number, report.outcome)])[-5:]
        self.hungriest = sorted([*self.hungriest, (report.peak_mb, number, report.outcome)])[-5:]
        self.last_resident_mb = report.resident_mb or self.last_resident_mb
        if report.kind:
            self.findings.append((number, report))


def fuzz(
    run: Run,
    draw: Draw,
    executions: int,
    found: Callable[[int, Report], None],
    until: float = float("inf"),
    deadline_s: float = DEADLINE_S,
) -> Tally:
    """Run the cases 0 to `executions` in children, which take `run` and `draw` as pickles.

    `found` is called with the number and the report of each finding; `until` is in seconds of
    `time.monotonic`.
    """
    tally = Tally()
    processes = multiprocessing.get_context("spawn")
    number = 0
    while number < executions and time.monotonic() < until:
        ours, theirs = processes.Pipe(duplex=False)
        child = processes.Process(
            target=run_child, args=(theirs, run, draw, range(number, executions)), daemon=True
        )
        child.start()
        theirs.close()
        tally.children += 1
        for report in _reports(ours, child, executions - number, deadline_s):
            tally.add(number, report)
            if report.kind:
                found(number, report)
            number += 1
            if time.monotonic() >= until:
                break
        child.kill()
        child.join()
    return tally


def _reports(ours: Connection, child: Any, wanted: int, deadline_s: float) -> Iterator[Report]:
    """The reports of a child; the last is that of its death where it dies."""
    if not ours.poll(START_S):
        raise RuntimeError("the child did not start")
    ours.recv()
    for _ in range(wanted):
        if not ours.poll(deadline_s):
            yield Report(f"no end after {deadline_s:g} s", "hang", deadline_s * 1000)
            return
        try:
            yield ours.recv()
        except EOFError:
            child.join()
            code = child.exitcode or 0
            name = signal.Signals(-code).name if code < 0 else f"exit {code}"
            yield Report(name, "crash")
            return


def save(name: str, draw: Draw, number: int, report: Report) -> None:
    """Keep the file and options of a finding in out/fuzz/."""
    OUT.mkdir(parents=True, exist_ok=True)
    case = draw(number)
    (OUT / f"{name}_{number}.bin").write_bytes(case.data)
    lines = [f"{report.kind}: {report.outcome}", *map(repr, case.wanted)]
    (OUT / f"{name}_{number}.txt").write_text("\n".join(lines) + "\n")
    print(f"{report.kind} in {number}: {report.outcome}", file=sys.stderr, flush=True)


def print_page(title: str, tally: Tally, seed: int, files: int) -> None:
    """The run as a page of Markdown."""
    print(machine.page_head(title))
    print(
        f"{tally.done:,} executions with seed {seed} over {files} files, in {tally.children} "
        f"child process{'es' * (tally.children != 1)}: **{len(tally.findings)} findings**.\n"
    )
    print("| outcome | executions |\n|---|---:|")
    for outcome, count in tally.outcomes.most_common():
        print(f"| {outcome} | {count:,} |")
    for title, unit, rows in (
        ("slowest", "ms", tally.slowest),
        ("memory above rest", "MB", tally.hungriest),
    ):
        print(f"\n| {title} | {unit} | outcome |\n|---|---:|---|")
        for value, number, outcome in reversed(rows):
            print(f"| {number} | {value:.0f} | {outcome} |")
    print(f"\nThe last child held {tally.last_resident_mb:.0f} MB at its end.")
    if tally.findings:
        print("\n| finding | kind | what |\n|---|---|---|")
        for number, report in tally.findings:
            print(f"| {number} | {report.kind} | {report.outcome} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--executions", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0, help="at most")
    parser.add_argument("--target", choices=("engine", "png"), default="engine")
    parser.add_argument("--folder", type=Path, action="append", help="files besides tests/data")
    parser.add_argument("--only", type=int, help="this execution alone, in this process")
    given = parser.parse_args()
    files = read_seeds((machine.ROOT / "tests/data", *(given.folder or CORPUS)))
    title, run, by_number = {
        "engine": ("Broken files through the engine", run_engine, draw_case),
        "png": ("Broken PNGs through the decoder of kornia-rs", run_png, draw_png),
    }[given.target]
    draw = partial(by_number, Mutator(files), given.seed)
    if given.only is not None:
        print(run_guarded(run, draw(given.only)))
        return 0
    keep = partial(save, f"{given.target}_{given.seed}", draw)
    until = time.monotonic() + given.minutes * 60
    tally = fuzz(run, draw, given.executions, keep, until)
    print_page(title, tally, given.seed, len(files))
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
