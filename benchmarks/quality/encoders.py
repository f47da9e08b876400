"""What is compared: our encoder at several efforts and sharp's, each at a ladder of qualities."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import servers
from benchmarks.quality.environment import CACHE, run_lines, said
from benchmarks.quality.references import Reference
from omnishot_ray.imaging.encode import encode
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.options import parse_options

EFFORTS: Mapping[Format, Sequence[int]] = {
    Format.JPEG: (2, 4, 9),
    Format.WEBP: (2, 3, 4, 9),
    Format.AVIF: (2, 4, 5, 7, 9),
    Format.PNG: (2, 4, 9),
}
QUALITIES: Mapping[Format, Sequence[int]] = {
    Format.JPEG: (40, 60, 75, 85, 92, 96),
    Format.WEBP: (40, 60, 75, 85, 93),
    Format.AVIF: (30, 45, 60, 75, 88),
    Format.PNG: (80,),
}
"""Wide enough that most pictures score below 65 at the first and over 85 at the last."""

SHARP: Mapping[str, tuple[Format, Mapping[str, Any]]] = {
    "sharp": (Format.JPEG, {}),
    "sharp mozjpeg": (Format.JPEG, {"mozjpeg": True}),
    "sharp webp": (Format.WEBP, {}),
    "sharp avif": (Format.AVIF, {}),
    "sharp png": (Format.PNG, {}),
}
ROUNDS: Mapping[Format, int] = {Format.AVIF: 1}
"""Encodes of which the fastest counts, where fewer than the command says: AVIF takes seconds."""


@dataclass
class Encode:
    """One encoded file. `ms` is CPU time of the process, per megapixel; `score` comes later."""

    reference: str
    encoder: str
    format: str
    quality: int
    bytes: int
    ms_per_mp: float
    path: str
    score: float = 0.0


def encode_ours(
    references: Sequence[Reference], formats: Iterable[Format], rounds: int
) -> list[Encode]:
    """Every reference by the project's own `encode`, at each of `EFFORTS` and `QUALITIES`."""
    todo = [
        (reference, format, effort, quality)
        for format in formats
        for effort in EFFORTS[format]
        for reference in references
        for quality in QUALITIES[format]
    ]
    return list(
        said(
            (_ours(*task, ROUNDS.get(task[1], rounds)) for task in todo),
            every=50,
            of=len(todo),
            what="ours",
        )
    )


def _ours(reference: Reference, format: Format, effort: int, quality: int, rounds: int) -> Encode:
    options = parse_options({"format": format.value, "quality": quality, "effort": effort})
    best, data = float("inf"), b""
    for _ in range(rounds):
        picture = reference.image.copy()
        started = time.process_time()
        data = encode(picture, format, options, b"")
        best = min(best, time.process_time() - started)
    name = f"ours effort {effort}"
    path = _path(reference, name, format, quality)
    path.write_bytes(data)
    ms = best * 1000 / reference.megapixels
    return Encode(reference.name, name, format.value, quality, len(data), ms, str(path))


def encode_sharp(
    references: Sequence[Reference], formats: Iterable[Format], rounds: int
) -> tuple[list[Encode], dict[str, str]]:
    """Every reference by sharp's encoders, and the versions of sharp and its libraries."""
    wanted = tuple(formats)
    planned = [
        (reference, name, format, options, quality)
        for name, (format, options) in SHARP.items()
        if format in wanted
        for reference in references
        for quality in QUALITIES[format]
    ]
    tasks: list[dict[str, Any]] = []
    for reference, name, format, options, quality in planned:
        asked = dict(options) if format is Format.PNG else {"quality": quality, **options}
        tasks.append(
            {
                "reference": str(reference.path),
                "method": format.value,
                "options": asked,
                "rounds": ROUNDS.get(format, rounds),
                "path": str(_path(reference, name, format, quality)),
            }
        )
    told, versions = run_sharp(tasks)
    encodes = [
        Encode(
            reference.name,
            name,
            format.value,
            quality,
            answer["bytes"],
            answer["ms"] / reference.megapixels,
            str(task["path"]),
        )
        for (reference, name, format, _, quality), task, answer in zip(
            planned, tasks, told, strict=True
        )
    ]
    return encodes, versions


def run_sharp(tasks: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The tasks of sharp.js, done by the sharp of the peer; what it told of each, and its versions.

    Raises:
        servers.ServerError: npm cannot install it.
        RuntimeError: node failed; what it said is on stderr.
    """
    module = servers.PEER_FOLDER / "node_modules" / "sharp"
    if not module.exists():
        servers.install_peer()
    script = Path(__file__).with_name("sharp.js")
    job = {"sharp": str(module), "tasks": tasks}
    lines = run_lines(["node", str(script)], job, {"UV_THREADPOOL_SIZE": "1"})
    *told, versions = [
        json.loads(line) for line in said(lines, every=50, of=len(tasks), what="sharp")
    ]
    return told, versions


def _path(reference: Reference, encoder: str, format: Format, quality: int) -> Path:
    folder = CACHE / "encoded"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{reference.name}.{encoder.replace(' ', '_')}.{quality}.{format.value}"
