"""Listings of pictures: JSON lines and CSV with addresses or paths."""

import csv
import io
import json
from collections.abc import Iterator

from omnishot_ray.batch.members import Found, Listed
from omnishot_ray.batch.places import Place
from omnishot_ray.batch.spans import Fault

_GUESSES = ("url", "uri", "path", "file", "file_name", "filename", "image_url", "image")
_MAX_LINE = 1 << 20


def read_listing(place: Place, kind: str, column: str | None) -> Iterator[Found | Listed]:
    """The addresses, line by line; a fault for each line that names none."""
    with place.open() as raw:
        text = io.TextIOWrapper(raw, "utf-8-sig", errors="replace", newline="")
        yield from _json_lines(text, column) if kind == "jsonl" else _csv_rows(text, column)


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(_MAX_LINE):
        yield line


def _json_lines(text: io.TextIOWrapper, column: str | None) -> Iterator[Found | Listed]:
    for number, line in enumerate(_lines(text), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            yield _wrong(number, "is not JSON")
            continue
        if isinstance(value, dict):
            names = (column,) if column else _GUESSES
            value = next((value[name] for name in names if name in value), None)
        is_named = isinstance(value, str) and value
        yield Listed(value, len(line)) if is_named else _wrong(number, "names no picture")


def _csv_rows(text: io.TextIOWrapper, column: str | None) -> Iterator[Found | Listed]:
    rows = csv.reader(_lines(text))
    try:
        head = next(rows, [])
        at = next((head.index(name) for name in (column, *_GUESSES) if name in head), None)
        if at is None and column:
            yield Found("", -1, Fault("no-column", f"The CSV has no column {column!r}."))
            return
        if at is None:  # no header: the first column
            at = 0
            yield from _value(head, at, 1)
        for row in rows:
            if row:
                yield from _value(row, at, rows.line_num)
    except csv.Error as error:
        yield Found("", -1, Fault("archive-damaged", f"The CSV cannot be read on: {error}."))


def _value(row: list[str], at: int, number: int) -> Iterator[Found | Listed]:
    if row:
        is_named = at < len(row) and row[at]
        size = sum(map(len, row)) + len(row)  # with what is between them
        yield Listed(row[at], size) if is_named else _wrong(number, "names no picture")


def _wrong(number: int, what: str) -> Found:
    return Found(f"line {number}", -1, Fault("bad-line", f"Line {number} {what}."))
