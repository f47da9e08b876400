"""Coefficients of the estimate, fitted to measured tasks, and written as the module that has them.

Numpy only: positive coefficients by the logarithm of estimated over measured, so that half as much
and twice as much are errors of one size, and with outliers of little weight.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from math import log, log10
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.cost_tasks import Measured
from omnishot_ray.imaging import cost
from omnishot_ray.imaging.coefficients import SIZES
from omnishot_ray.imaging.encode_cost import source_density, source_kind
from omnishot_ray.imaging.formats import OUTPUT_FORMATS, Format
from omnishot_ray.imaging.geometry import Size, plan_rendition
from omnishot_ray.imaging.header import Header
from omnishot_ray.imaging.options import Options

MOVING_FORMATS = (Format.PNG, Format.WEBP, Format.AVIF, Format.GIF)
Vector = NDArray[np.float64]
Sizes = dict[str, tuple[float, float, float, float]]

STAGES = ("decode", "encode", "rest")
_LADDERS = (
    ("jpeg.turbo", "jpeg.turbo.optimized", "jpeg.turbo.progressive"),
    ("jpeg.turbo", "jpeg.jpegli", "jpeg.transcoded"),
    tuple(f"png.{effort}" for effort in range(10)),
    tuple(f"png.{effort}.soft" for effort in range(7, 10)),
    tuple(f"webp.{method}" for method in range(7)),
    tuple(f"webp.lossless.{effort}" for effort in range(10)),
    tuple(f"avif.{speed}" for speed in range(9, 3, -1)),
    tuple(f"alpha.webp.{method}" for method in range(7)),
    ("gif.quick", "gif.best"),
    tuple(f"film.webp.{step}" for step in range(8)),
    tuple(f"film.webp.lossless.{effort}" for effort in range(10)),
    ("film.gif.quick", "film.gif.best"),
)
"""Encoders and their steps, each of which costs at least what the one before it does."""


def fit(rows: Sequence[Measured]) -> tuple[Sizes, dict[str, float]]:
    """Sizes and coefficients. The sizes are in use afterwards."""
    sizes = fit_sizes(rows)
    SIZES.update(sizes)
    return sizes, fit_coefficients(rows)


def fit_sizes(rows: Sequence[Measured]) -> Sizes:
    """Bytes per pixel of a JPEG from those of its source and the scale, by source format."""
    samples: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for row in rows:
        if len(row.task.wanted) != 1 or not row.task.name.startswith("jpeg "):
            continue
        (options,) = row.task.wanted
        if options.quality or options.max_bytes:
            continue
        header = row.header
        upright = Size(header.width, header.height)
        if header.swaps_sides:
            upright = Size(*reversed(upright))
        scaled = plan_rendition(upright, options).scaled
        pixels = scaled.width * scaled.height
        if pixels < _LEAST_PIXELS or (scaled == upright and header.format is Format.JPEG):
            continue  # too small to tell, or perhaps the source itself
        stored = header.width * header.height
        size_bytes = max(1, row.size_bytes - header.beside)
        source = source_density(size_bytes, header)
        result = max(1, row.sizes[0] - _EMPTY_JPEG) / pixels
        samples[source_kind(size_bytes, header)].append(
            (log(result), log(source), -log(pixels / stored), log(max(1.0, header.quantum)))
        )
    return {kind: _fit_power(samples[kind]) for kind in _KINDS}


_KINDS = (*(format.value for format in Format), "png.palette", "webp.lossless")
_LEAST_PIXELS = 2_000
_EMPTY_JPEG = 600
_USUAL = np.array([-2.0, 0.5, 0.15, 0.0])
_DOUBT = np.array([0.3, 10.0, 10.0, 1.0])
"""What kinds are taken to have of which there are too few files to tell, and how firmly."""
_OUTLIER = 0.3


def _fit_power(samples: Sequence[tuple[float, ...]]) -> tuple[float, float, float, float]:
    """By the logarithm, and with outliers of little weight."""
    table = np.array(samples or np.zeros((0, 4)))
    result, source, scaling, quantum = table.T
    matrix = np.stack([np.ones_like(source), source, scaling, quantum], axis=1)
    found, trust = _USUAL, np.ones_like(source)
    for _ in range(_REWEIGHTED):
        heavy = matrix.T * trust
        found = np.linalg.solve(heavy @ matrix + np.diag(_DOUBT), heavy @ result + _DOUBT * _USUAL)
        trust = 1 / (1 + ((matrix @ found - result) / _OUTLIER) ** 2)
    factor, exponent, growth, coarseness = found.tolist()
    return float(np.exp(factor)), max(0.0, exponent), max(0.0, growth), coarseness


_REWEIGHTED = 20


def fit_coefficients(rows: Sequence[Measured]) -> dict[str, float]:
    """Milliseconds of each unit of work; next to nothing for what no task has.

    Of each stage by itself, as right sums of wrong parts are not right for other tasks, and within
    it of all names together that tasks have in common.
    """
    names = _all_names()
    column = {name: index for index, name in enumerate(names)}
    amounts = np.zeros((len(rows), len(names)))
    for index, row in enumerate(rows):
        for name, amount in _amounts(row).items():
            amounts[index, column[name]] = amount
    took = np.array([row.ms for row in rows])
    steps = _steps(names)
    increments = np.zeros(len(names))
    for stage in STAGES:
        of_stage = np.array([_stage(name) == stage for name in names])
        matrix = (amounts * of_stage) @ steps
        measured = np.array([measured_ms(row, stage) for row in rows])
        weight = np.sqrt(np.maximum(measured / took, _LEAST_WEIGHT))
        for group in _groups(matrix):
            used = np.flatnonzero(matrix[:, group].max(axis=1))
            increments[group] = _fit(
                matrix[np.ix_(used, group)], measured[used], weight[used], took[used] * _FLOOR
            )
    return dict(zip(names, (float(value) for value in steps @ increments), strict=True))


def _groups(matrix: Vector) -> Iterator[NDArray[np.intp]]:
    """The columns that are used, in groups of those that rows have in common."""
    left = set(np.flatnonzero(matrix.max(axis=0)).tolist())
    together = (matrix > 0).T.astype(np.float32) @ (matrix > 0) > 0
    while left:
        group = np.zeros(matrix.shape[1], bool)
        group[left.pop()] = True
        while (wider := together[group].any(axis=0)).sum() > group.sum():
            group = wider
        left -= set(np.flatnonzero(group).tolist())
        yield np.flatnonzero(group)


_LEAST_WEIGHT = 0.02
_FLOOR = 0.02
"""Of the whole; what takes less counts as that."""


def _stage(name: str) -> str:
    stage = name.partition(".")[0]
    return stage if stage in ("decode", "encode") else "rest"


def measured_ms(row: Measured, stage: str) -> float:
    """What a stage took; `rest` is the transform and what is in none of them."""
    if stage in row.stages:
        return row.stages[stage]
    return max(0.0, row.ms - row.stages["decode"] - row.stages["encode"])


def estimated_ms(row: Measured, stage: str) -> float:
    """What a stage is estimated to take."""
    amounts = _amounts(row)
    return sum(cost.MS[name] * some for name, some in amounts.items() if _stage(name) == stage)


def _amounts(row: Measured) -> dict[str, float]:
    amounts: dict[str, float] = defaultdict(float)
    wanted = row.task.wanted
    work = (
        cost.count_work(row.size_bytes, row.header, wanted)
        if wanted
        else cost.count_info_work(row.size_bytes, row.header)
    )
    for name, amount in work:
        amounts[name] += amount
    return amounts


def _all_names() -> list[str]:
    """Every coefficient that any task may ask for."""
    headers = [
        Header(format, 40, 30, frames, alpha, channels, scans, bits, lossless, profile, swaps)
        for format, frames, alpha, channels, scans, bits, lossless, profile, swaps in product(
            Format, (1, 2), (False, True), (1, 3, 4), (1, 2), (8, 24), *[(False, True)] * 3
        )
        if frames == 1 or format in MOVING_FORMATS
    ]
    options = [
        Options(format=format, effort=effort, progressive=progressive)
        for format in OUTPUT_FORMATS
        for effort in range(10)
        for progressive in (None, True)
    ]
    options += [Options(width=9, format="webp", lossless=True, effort=e) for e in range(10)]
    options += [Options(format=f, quality="auto") for f in ("jpeg", "webp", "avif")]
    options += [
        Options(width=9, height=9, gravity=gravity, palette=True, format="png", trim=9, blur=1)
        for gravity in ("attention", "face")
    ]
    options.append(Options(width=9, max_bytes=1, grayscale=True, normalize=True, sharpen=1))
    options.append(Options(width=9, max_bytes=1, format="png"))
    options.append(Options(width=99, height=99, fit="contain", background="blur", rotate=90))
    options += [Options(width=width, enlarge=True) for width in (4, 8, 16, 80)]
    names = {name for one in headers for name, _ in cost.count_info_work(100, one)}
    names |= {name for one in headers for name, _ in cost.count_work(100, one, options)}
    for one in headers[:: len(headers) // 40]:
        names |= {n for some in options for n, _ in cost.count_work(100, one, [some])}
    moving = Header(Format.GIF, 40, 30, 2)
    names |= {name for some in options for name, _ in cost.count_work(100, moving, [some])}
    kept = Header(Format.JPEG, 40, 30, bits=12, quantum=99.0)
    turned = Header(Format.JPEG, 40, 30, turned=True)
    for one, some in product((kept, turned, Header(Format.PNG, 40, 30, bits=8)), options):
        names |= {name for name, _ in cost.count_work(100, one, [some])}
    names |= {f"decode.jpeg.idct.{divisor}" for divisor in (1, 2, 4, 8)}
    return sorted(names)


def _steps(names: Sequence[str]) -> Vector:
    """Square matrix: a coefficient is its own increment and those of the steps below it."""
    column = {name: index for index, name in enumerate(names)}
    matrix = np.eye(len(names))
    for ladder, suffix in product(_LADDERS, ("", ".mb", ".mp")):
        known = [column[name] for step in ladder if (name := f"encode.{step}{suffix}") in column]
        for place, index in enumerate(known):
            matrix[index, known[:place]] = 1.0
    return matrix


def _fit(matrix: Vector, target: Vector, weight: Vector, floor: Vector) -> Vector:
    """Positive coefficients by the logarithm of estimated over measured.

    Levenberg–Marquardt over the logarithms of the coefficients (Marquardt, SIAM Journal 11, 1963).
    """
    aim = np.log(target + floor)
    used = matrix.max(axis=0) > 0
    matrix = matrix[:, used]
    logs = _starts(matrix, target)
    damping = 1.0

    def errors(logs: Vector) -> tuple[Vector, Vector]:
        made = matrix @ np.exp(logs) + floor
        return np.log(made) - aim, made

    for usual_error, rounds in _ROUNDS:
        found, made = errors(logs)
        loss = _loss(found, weight, usual_error)
        for _ in range(rounds):
            trust = weight**2 / (1 + (found / usual_error) ** 2)
            slopes = matrix * np.exp(logs) / made[:, None]
            heavy = slopes.T * trust
            gram = heavy @ slopes
            pull = heavy @ found + _PULL * (logs - _LEAST_LOG)
            stiff = damping * np.diag(gram) + _PULL
            step = np.linalg.solve(gram + np.diag(stiff), pull)
            tried = np.maximum(logs - np.clip(step, -1, 1), _LEAST_LOG)
            new_found, new_made = errors(tried)
            new_loss = _loss(new_found, weight, usual_error)
            if new_loss < loss:
                logs, found, made, loss = tried, new_found, new_made, new_loss
                damping = max(1e-3, damping / 3)
            else:
                damping = min(1e6, damping * 4)
    result = np.zeros(len(used))
    result[used] = np.exp(logs)
    return result


_START = 0.1
_LEAST_LOG = -12.0
_PULL = 1e-4
"""Towards nothing, for what the tasks do not tell apart."""
_ROUNDS = ((8.0, 20), (1.0, 20), (0.25, 30))
"""The error beyond which a task counts as an outlier (as in Cauchy's distribution), and steps."""


def _starts(matrix: Vector, target: Vector) -> Vector:
    """Of each coefficient a part of what it would have to be if there were no other."""
    alone = [median(target[some > 0] / some[some > 0]) for some in matrix.T]
    return np.log(np.maximum(_START * np.array(alone), 1e-3))


def _loss(found: Vector, weight: Vector, usual_error: float) -> float:
    return float((weight**2 * np.log1p((found / usual_error) ** 2)).sum())


def write_module(sizes: Sizes, coefficients: Mapping[str, float]) -> str:
    """The Python source of `imaging/coefficients.py`."""
    return _MODULE.format(
        sizes="\n".join(
            f'    "{kind}": ({", ".join(_short(value) for value in sizes[kind])}),'
            for kind in _KINDS
        ),
        ms="\n".join(f'    "{name}": {_short(value)},' for name, value in coefficients.items()),
    )


def _short(value: float) -> str:
    """Three digits, as a float that needs no exponent."""
    if value <= 0:
        return "0.0"
    digits = max(1, 2 - int(log10(value) // 1))
    return str(round(value, min(digits, 4)))


_MODULE = '''"""What a unit of work takes. Written by `python -m benchmarks.cost --fit`.

Milliseconds on one core of the machine that `benchmarks/results/cost.md` names.
"""

SIZES: dict[str, tuple[float, float, float, float]] = {{
    # factor, exponent, growth, coarseness
{sizes}
}}
"""Bytes of a pixel of a rendition as a JPEG of quality 80: factor × bytes of a pixel of the source
** exponent × scaling ** -growth × quantum ** coarseness. By the kind of the source."""

MS: dict[str, float] = {{
{ms}
}}
"""By the names that `cost.py` counts by. `.mp` is for a megapixel, `.mb` for a megabyte of the
source where it is decoded, and for a megapixel times its detail where it is encoded."""
'''


def apply(sizes: Sizes, coefficients: Mapping[str, float]) -> None:
    """Let the estimates of this process use them."""
    SIZES.update(sizes)
    cost.MS.clear()
    cost.MS.update(coefficients)


def errors(rows: Iterable[Measured]) -> Vector:
    """Estimate over measured, less one, of each row."""
    return np.array([estimate(row) / row.ms - 1 for row in rows])


def estimate(row: Measured) -> float:
    """What the service would have taken it for."""
    if row.task.wanted:
        return cost.estimate_ms(row.size_bytes, row.header, row.task.wanted)
    return cost.estimate_info_ms(row.size_bytes, row.header)
