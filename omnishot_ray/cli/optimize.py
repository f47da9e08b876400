"""`omnishot optimize`: files in, renditions out, in this process."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from os.path import isdir
from pathlib import Path
from time import perf_counter
from typing import Any

import click

from omnishot_ray.cli.output import say_unwritable
from omnishot_ray.errors import OmnishotError
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options, parse_options
from omnishot_ray.imaging.pipeline import FailedRendition, Rendition
from omnishot_ray.protocol import ImageTask, run_task

_LINE_EVERY_S = 10.0
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif", ".tif", ".tiff", ".bmp"})


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one rendition of one file."""

    source: str
    rendition: str
    before: int
    after: int = 0
    size: str = ""
    ms: float = 0.0
    error: str | None = None


def wanted_options(platforms: Sequence[str], given: dict[str, Any]) -> tuple[Options, ...]:
    """The renditions of a command line. Raises `ValueError` with a sentence for the user."""
    try:
        if platforms:
            return tuple(parse_options({"platform": name, **given}) for name in platforms)
        return (replace(parse_options(given), name="optimized"),)
    except OmnishotError as error:
        raise ValueError(str(error)) from None


def optimize_files(
    sources: Sequence[Path], wanted: Sequence[Options], output: Path, *, as_json: bool
) -> int:
    """Write all renditions and say what was saved. Returns the exit code: 1 when some failed.

    Raises `click.UsageError` when there is nothing to work on.
    """
    started = perf_counter()
    files = list(_find_files(sources))
    if not files:
        raise click.UsageError(f"No images in {', '.join(map(click.format_filename, sources))}.")
    rows: list[Row] = []
    written: set[Path] = set()
    try:
        output.mkdir(parents=True, exist_ok=True)
        for path, folder in _with_progress(files, quiet=as_json):
            rows += _optimize_file(path, wanted, output / folder, written)
    except OSError as error:  # sources that cannot be read have rows of their own: it is the output
        return say_unwritable(output, error)
    seconds = perf_counter() - started
    if as_json:
        _print_json(rows, seconds)
    else:
        _print_table(rows, seconds, output)
    return 1 if any(row.error for row in rows) else 0


def _find_files(sources: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Every file with the folder that it keeps in the output."""
    for source in sources:
        if not isdir(source):  # that of `Path` raises for a name that is too long
            yield source, Path()
            continue
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in _SUFFIXES and path.is_file():
                yield path, path.parent.relative_to(source)


def _optimize_file(
    path: Path, wanted: Sequence[Options], folder: Path, written: set[Path]
) -> list[Row]:
    try:
        data = path.read_bytes()
    except OSError as error:
        return [Row(str(path), "-", 0, error=error.strerror or "cannot be read")]
    started = perf_counter()
    outcome = run_task(ImageTask(data, tuple(wanted), path.name), Limits())
    ms = (perf_counter() - started) * 1000.0
    if isinstance(outcome, OmnishotError):
        return [Row(str(path), "-", len(data), error=str(outcome))]
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for rendition in outcome.renditions:
        if isinstance(rendition, FailedRendition):
            rows.append(Row(str(path), rendition.name, len(data), error=str(rendition.error)))
            continue
        _write_atomically(_target(path, rendition, folder, written), rendition.data)
        size = f"{rendition.width}×{rendition.height}"
        share = ms / len(outcome.renditions)
        rows.append(Row(str(path), rendition.name, len(data), len(rendition.data), size, share))
    return rows


def _target(path: Path, rendition: Rendition, folder: Path, written: set[Path]) -> Path:
    """`photo.instagram-post.jpg`; a second source of the same stem keeps its suffix, or counts."""
    end = f"{rendition.name}.{rendition.format.extension}"
    names = chain((path.stem, path.name), (f"{path.name}-{n}" for n in count(2)))
    target = next(t for name in names if (t := folder / f"{name}.{end}") not in written)
    written.add(target)
    return target


def _write_atomically(target: Path, data: bytes) -> None:
    """A reader never sees half a file."""
    partial = target.with_name(f".{target.name}.partial")
    partial.write_bytes(data)
    partial.replace(target)


def _with_progress(
    files: Sequence[tuple[Path, Path]], *, quiet: bool
) -> Iterator[tuple[Path, Path]]:
    if quiet or len(files) < 2:
        yield from files
        return
    if not sys.stderr.isatty():
        yield from _with_lines(files)
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(files, "Optimizing", console=Console(stderr=True), transient=True)


def _with_lines(files: Sequence[tuple[Path, Path]]) -> Iterator[tuple[Path, Path]]:
    """For logs and pipes: a line now and then; none where all is done before the first."""
    told = perf_counter()
    for done, file in enumerate(files):
        if perf_counter() - told >= _LINE_EVERY_S:
            told = perf_counter()
            click.echo(f"{done} of {len(files)} files", err=True)
        yield file


def _print_json(rows: Sequence[Row], seconds: float) -> None:
    document = {
        "renditions": [
            {
                "source": row.source,
                "name": row.rendition,
                "bytes_before": row.before,
                "bytes_after": row.after,
                "size": row.size,
                "ms": round(row.ms, 1),
                "error": row.error,
            }
            for row in rows
        ],
        "seconds": round(seconds, 3),
        "failed": sum(row.error is not None for row in rows),
    }
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def _print_table(rows: Sequence[Row], seconds: float, output: Path) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title, justify in (
        ("file", "left"),
        ("rendition", "left"),
        ("pixels", "right"),
        ("before", "right"),
        ("after", "right"),
        ("saved", "right"),
        ("ms", "right"),
    ):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        name = escape(click.format_filename(row.source, shorten=True))
        if row.error:
            table.add_row(name, row.rendition, "", _size(row.before), "[red]failed[/]", "", "")
            continue
        saved = f"{100 * (1 - row.after / row.before):.0f} %" if row.before else ""
        table.add_row(
            name,
            row.rendition,
            row.size,
            _size(row.before),
            _size(row.after),
            saved,
            f"{row.ms:.0f}",
        )
    console = Console(emoji=False, width=None if sys.stdout.isatty() else 120)
    console.print(table)
    done = sum(row.error is None for row in rows)
    said = f"{done} renditions in {seconds:.2f} s, in {click.format_filename(output)}"
    console.print(said, highlight=False, markup=False)
    for row in rows:
        if row.error:
            name = escape(click.format_filename(row.source, shorten=True))
            console.print(f"[red]{name}[/]: {escape(row.error)}", highlight=False)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
