"""`omnishot metrics`: figures of a running service, or of the Parquet that one has written."""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from pathlib import Path
from time import time
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq

from omnishot_ray.api.metrics import ARROW, read_question, read_window
from omnishot_ray.cli.address import check_url
from omnishot_ray.cli.output import say_unwritable
from omnishot_ray.errors import OmnishotError
from omnishot_ray.metrics.answering import from_samples
from omnishot_ray.metrics.archive import Archive
from omnishot_ray.metrics.samples import TABLES
from omnishot_ray.metrics.store import check_query
from omnishot_ray.metrics.streams import from_stream

_TIMEOUT_S = 30.0
_LONGEST_S = 3650 * 86_400.0
_DEFAULT_S = 300.0
_SUFFIXES = (".parquet", ".arrow", ".json")
_NOT_THERE = 3


def query(given: dict[str, str], url: str, stored: str | None, key: str, as_json: bool) -> int:
    """Print the answer to a question. Returns the exit code."""
    try:
        table = _answer(given, stored) if stored else _fetch("query", given, url, key)
    except (OSError, OmnishotError) as error:
        return _fail(error)
    _print(table, as_json)
    return 0


def export(
    given: dict[str, str], url: str, stored: str | None, key: str, output: Path | None
) -> int:
    """Write samples as they came. Returns the exit code."""
    if output is not None and output.suffix not in _SUFFIXES:
        raise click.UsageError(f"The output has to end in one of {', '.join(_SUFFIXES)}.")
    try:
        table = _samples(given, stored) if stored else _fetch("export", given, url, key)
    except (OSError, OmnishotError) as error:
        return _fail(error)
    try:
        _write(table, output)
    except OSError as error:
        return say_unwritable(output or Path("-"), error)
    if output is not None:
        click.echo(f"{output}: {table.num_rows} samples", err=True)
    return 0


def _archive(source: str) -> Archive:
    """Raises `FileNotFoundError` where there is none: a reader of it would find no samples."""
    try:
        archive = Archive(source if "://" in source else Path(source).resolve().as_uri())
    except ValueError as error:  # Arrow's own for a scheme it does not know
        raise click.UsageError(f"--from {source} is not a folder or a URI: {error}") from None
    if not archive.exists():
        raise FileNotFoundError(f"nothing is stored in {source}; see --from")
    return archive


def _answer(given: dict[str, str], source: str) -> pa.Table:
    """Exact: by all samples of the time, none of which need fit into a hub's memory."""
    asked = read_question(given, _DEFAULT_S, _LONGEST_S)
    check_query(asked)
    until_s = time()
    since_s = until_s - asked.window_s
    samples = _archive(source).read(asked.table, since_s, until_s)
    return from_samples(asked, samples, (since_s, until_s))


def _samples(given: dict[str, str], source: str) -> pa.Table:
    if given["table"] not in TABLES:
        raise click.UsageError(f"There is no such table; there are {', '.join(TABLES)}.")
    until_s = time()
    window_s = read_window(given.get("window", ""), _DEFAULT_S, _LONGEST_S)
    return _archive(source).read(given["table"], until_s - window_s, until_s).sort_by("at_s")


def _fetch(what: str, given: dict[str, str], url: str, key: str) -> pa.Table:
    check_url(url)
    address = f"{url.rstrip('/')}/api/metrics/{what}?{urllib.parse.urlencode(given)}"
    headers = {"Accept": ARROW} | ({"Authorization": f"Bearer {key}"} if key else {})
    try:
        request = urllib.request.Request(address, headers=headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            return from_stream(answer.read())
    except (ValueError, HTTPException) as error:  # an impossible address, or no Arrow stream
        raise ConnectionError(f"no OmniShot answers at {url} ({error}); see --url.") from None


def _fail(error: Exception) -> int:
    if isinstance(error, urllib.error.HTTPError):
        try:
            said = json.loads(error.read())["detail"]
        except (ValueError, KeyError, TypeError):
            said = f"the service answered {error.code}"
        click.echo(f"omnishot: {said}", err=True)
        return 2 if error.code < 500 else 1
    if isinstance(error, urllib.error.URLError):
        click.echo(f"omnishot: no service answers there ({error.reason}); see --url.", err=True)
        return _NOT_THERE
    click.echo(f"omnishot: {error}", err=True)
    return 2 if isinstance(error, OmnishotError) else _NOT_THERE


def _print(table: pa.Table, as_json: bool) -> None:
    rows = table.to_pylist()
    if as_json:
        click.echo(json.dumps({"columns": table.column_names, "rows": rows}))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    shown = Table(*map(escape, table.column_names))
    for row in rows:
        shown.add_row(*(escape(_cell(value)) for value in row.values()))
    Console(emoji=False).print(shown)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,.3f}" if isinstance(value, float) else str(value)


def _write(table: pa.Table, output: Path | None) -> None:
    """By the suffix: Parquet, an Arrow file, or JSON lines; without a name an Arrow stream."""
    if output is None:
        with pa.ipc.new_stream(sys.stdout.buffer, table.schema) as stream:
            stream.write_table(table)
    elif output.suffix == ".parquet":
        pq.write_table(table, output, compression="zstd")
    elif output.suffix == ".json":
        output.write_text("".join(f"{json.dumps(row)}\n" for row in table.to_pylist()))
    else:
        with pa.ipc.new_file(str(output), table.schema) as file:
            file.write_table(table)
