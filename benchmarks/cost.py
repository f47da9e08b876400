"""How well the estimate of the work meets what the work takes, and its coefficients fitted.

    python -m benchmarks.cost [--fit] [--corpus DIR] [--measured FILE [--minutes N]] > FILE.md

Every accepted picture of the corpus × a spread of options (`cost_tasks.py`), in milliseconds of CPU
of this process, so that others on the machine matter little; what a neighbour on the same silicon
does to them is measured beside and taken out (`settled`). `--fit` writes
`omnishot_ray/imaging/coefficients.py` first. What is measured is kept in the file that `--measured`
names, and what is in it is not measured again, so that parts of `--minutes` add up.
"""

import argparse
import json
import subprocess
import sys
import time
import timeit
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks import cost_fit, machine
from benchmarks.cost_tasks import (
    Measured,
    Run,
    clock_cpu,
    format_of,
    measure,
    merged,
    read_corpus,
    settled,
    tasks_for,
)
from omnishot_ray.imaging import coefficients, cost
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.header import Header
from omnishot_ray.imaging.options import Options

CORPORA = (machine.ROOT.parent / "shared" / "corpus", machine.ROOT / "tests" / "data")
WITHIN = 0.3
_FOLDS = 5
_LISTED = 25


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", action="store_true")
    parser.add_argument(
        "--corpus", type=Path, default=next(path for path in CORPORA if path.exists())
    )
    parser.add_argument("--measured", type=Path)
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="measure for so long, and print no page")
    arguments = parser.parse_args()
    until = time.monotonic() + 60 * arguments.minutes if arguments.minutes else None
    rows = measure_all(arguments.corpus, arguments.measured, arguments.passes, until)
    if arguments.minutes:
        return 0
    held_out: dict[str, float] | None = None
    if arguments.fit:
        held_out = judge_held_out(rows)
        fitted = cost_fit.fit(rows)
        cost_fit.apply(*fitted)
        module = Path(coefficients.__file__)
        module.write_text(cost_fit.write_module(*fitted), encoding="utf-8")
        subprocess.run([sys.executable, "-m", "ruff", "format", "-q", str(module)], check=False)
    print_page(rows, held_out)
    return 0


def measure_all(
    corpus: Path, kept: Path | None, passes: int = 1, until: float | None = None
) -> list[Measured]:
    """Every task of every picture, `passes` times at different times, as machines have moods.

    Those in the file `kept` are taken from there, and only what is missing is measured. No picture
    is begun after `until`, of the monotonic clock.
    """
    clock_cpu()
    pictures = _one_of_each_scene_first(list(read_corpus(corpus)))
    found = _read_kept(kept, pictures) if kept and kept.exists() else {}
    for one_pass in range(1, passes + 1):
        for file, data, header in pictures:
            if until and time.monotonic() > until:
                return settled(list(found.values()))
            missing = False
            for task in tasks_for(file, header):
                before = found.get((file, task.name))
                if before and before.passes >= one_pass:
                    continue
                done = measure(file, data, header, task)
                if done:
                    missing = True
                    found[file, task.name] = merged(before, done) if before else done
            if missing:
                print(one_pass, file, len(found), file=sys.stderr, flush=True)
                if kept:
                    kept.write_text(json.dumps([_as_json(one) for one in found.values()], indent=0))
    return settled(list(found.values()))


Picture = tuple[str, bytes, Header]


def _one_of_each_scene_first(pictures: Sequence[Picture]) -> list[Picture]:
    """So that a pass that is cut short has seen the most."""
    seen: Counter[str] = Counter()
    places = []
    for picture in pictures:
        scene = _scene(picture[0])
        seen[scene] += 1
        places.append((seen[scene], len(places), picture))
    return [picture for _, _, picture in sorted(places, key=lambda place: place[:2])]


def _as_json(row: Measured) -> dict[str, object]:
    runs = [list(asdict(run).values()) for run in row.runs]
    return {
        "file": row.file,
        "task": row.task.name,
        "sizes": row.sizes,
        "passes": row.passes,
        "runs": runs,
    }


def _read_kept(kept: Path, pictures: Sequence[Picture]) -> dict[tuple[str, str], Measured]:
    """By file and task; what is no task any more is left out."""
    known = {(row["file"], row["task"]): row for row in json.loads(kept.read_text())}
    found = {}
    for file, data, header in pictures:
        for task in tasks_for(file, header):
            row = known.get((file, task.name))
            if row:
                runs = tuple(Run(*values) for values in row["runs"])
                found[file, task.name] = Measured(
                    file, len(data), header, task, tuple(row["sizes"]), runs, row["passes"]
                )
    return found


def judge_held_out(rows: Sequence[Measured]) -> dict[str, float]:
    """The share within bounds of scenes that the coefficients were not fitted to, by `_kind`."""
    scenes = sorted({_scene(row.file) for row in rows})
    met: dict[str, list[bool]] = defaultdict(list)
    for fold in range(_FOLDS):
        left_out = set(scenes[fold::_FOLDS])
        cost_fit.apply(*cost_fit.fit([row for row in rows if _scene(row.file) not in left_out]))
        judged = [row for row in rows if _scene(row.file) in left_out]
        for row, error in zip(judged, cost_fit.errors(judged), strict=True):
            met[_kind(row)].append(bool(abs(error) <= WITHIN))
            met["all"].append(bool(abs(error) <= WITHIN))
    return {kind: sum(some) / len(some) for kind, some in sorted(met.items())}


def _scene(file: str) -> str:
    """One name for the files that show the same: turned, panned over or coded in another way."""
    return next((scene for scene in _SCENES if scene in file), file)


_SCENES = ("exif_landscape", "flower_480", "flower_2268", "kodim23", "loop3")


def print_page(rows: Sequence[Measured], held_out: dict[str, float] | None) -> None:
    """The page of results, in Markdown."""
    errors = cost_fit.errors(rows)
    print(machine.page_head("Cost: estimated against measured core-milliseconds"))
    print(
        f"{len(rows)} tasks over {len({row.file for row in rows})} pictures, "
        f"{np.mean(np.abs(errors) <= WITHIN):.0%} of them within ±{WITHIN:.0%}; "
        f"half within ±{np.median(np.abs(errors)):.0%}."
    )
    if held_out is not None:
        shares = ", ".join(f"{kind} {share:.0%}" for kind, share in held_out.items())
        print(
            f"Of scenes left out of the fit, a fifth at a time: {shares}. "
            "Formats with a single picture in the corpus are then guessed."
        )
    print(f"One estimate of one rendition takes {_estimate_us():.0f} µs.")
    print(_UNKNOWN)
    _print_groups("Usual tasks", rows, errors, _kind)
    _print_groups("The result", rows, errors, format_of)
    _print_groups("The source", rows, errors, lambda row: row.header.format.value)
    _print_groups("How long it takes", rows, errors, _length)
    _print_stages(rows)
    _print_groups("The task", rows, errors, lambda row: row.task.name)
    _print_groups("The picture", rows, errors, lambda row: row.file)
    _print_worst(rows, errors)


_UNKNOWN = """
What a header does not tell: how many colours a picture has (a palette of a drawing takes a tenth of
the time of that of a photo, and those of two photos differ by four), which filter suits a PNG,
whether alpha hides anything, whether a size is met at once or searched for, whether frames that are
stored whole differ, how much of a noisy photo is left when it is scaled down."""


def _estimate_us() -> float:
    header, wanted = Header(Format.JPEG, 2000, 1250, bits=12), [Options(width=600)]
    calls = 50
    times = timeit.repeat(
        lambda: cost.estimate_ms(700_000, header, wanted), number=calls, repeat=100
    )
    return min(times) / calls * 1e6


def _kind(row: Measured) -> str:
    """Usual: a still as JPEG, WebP, AVIF or PNG, without a search and with effort up to 5."""
    usual = all(
        options.effort <= _USUAL_EFFORT
        and not (options.max_bytes or options.lossless or options.palette)
        and options.quality != "auto"
        for options in row.task.wanted
    )
    moving = row.header.frames > 1 or "gif" in format_of(row)
    if moving or not usual:
        return "unusual"
    return "usual, of a photo" if _is_photo(row) else "usual, of another picture"


_USUAL_EFFORT = 5


def _is_photo(row: Measured) -> bool:
    return row.header.format is Format.JPEG or row.file.startswith(("photo", "portrait"))


def _length(row: Measured) -> str:
    bounds = (4, 20, 100, 500)
    return next((f"below {bound:3} ms" for bound in bounds if row.ms < bound), "longer")


def _print_groups(
    title: str,
    rows: Sequence[Measured],
    errors: cost_fit.Vector,
    key: Callable[[Measured], str],
) -> None:
    groups: dict[str, list[float]] = defaultdict(list)
    for row, error in zip(rows, errors, strict=True):
        groups[key(row)].append(float(error))
    print(
        f"\n## {title}\n\n| | tasks | within ±{WITHIN:.0%} | median error |\n|---|---:|---:|---:|"
    )
    for name, some in sorted(groups.items()):
        share = np.mean(np.abs(some) <= WITHIN)
        print(f"| {name} | {len(some)} | {share:.0%} | {np.median(some):+.0%} |")


def _print_stages(rows: Sequence[Measured]) -> None:
    print(f"\n## The stage\n\nWhere it takes {_MATTERS:.0%} of the task or more.\n")
    print(f"| | tasks | within ±{WITHIN:.0%} |\n|---|---:|---:|")
    for stage in cost_fit.STAGES:
        pairs = [
            (cost_fit.measured_ms(row, stage), cost_fit.estimated_ms(row, stage))
            for row in rows
            if cost_fit.measured_ms(row, stage) >= _MATTERS * row.ms
        ]
        met = sum(abs(estimate - ms) <= WITHIN * ms for ms, estimate in pairs)
        name = stage if stage != "rest" else "transform and the rest"
        print(f"| {name} | {len(pairs)} | {met / len(pairs):.0%} |")


_MATTERS = 0.2


def _print_worst(rows: Sequence[Measured], errors: cost_fit.Vector) -> None:
    print("\n## The worst\n\n| picture | task | ms | estimate |\n|---|---|---:|---:|")
    for index in np.argsort(-np.abs(np.log1p(errors)))[:_LISTED]:
        row = rows[index]
        print(f"| {row.file} | {row.task.name} | {row.ms:.1f} | {cost_fit.estimate(row):.1f} |")


if __name__ == "__main__":
    sys.exit(main())
