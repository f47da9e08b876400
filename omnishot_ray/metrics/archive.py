"""Samples and rollups as Parquet, by table, day and hour, on any file system that Arrow knows.

    samples/table=requests/day=2026-11-22/hour=16/part-<milliseconds>.parquet
    rollups/table=requests/day=2026-11-22/hour=16/upto-<milliseconds>.parquet

An hour that is over is put together: its parts become `upto-<the last of them>`, and so do its
rollups by the minute. A part that is not newer than the `upto` beside it is a leftover of a crash
in between and is not read. Files appear under their names only when they are whole.
"""

import itertools
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from omnishot_ray.metrics.samples import schema

logger = logging.getLogger(__name__)

HOUR_S = 3600
_FILE = re.compile(
    r"table=(?P<table>\w+)/day=(?P<day>[\d-]+)/hour=(?P<hour>\d+)/"
    r"(?P<kind>part|upto)-(?P<number>\d+)\.parquet$"
)


class Archive:
    """Below one URI. All methods may raise `OSError`."""

    def __init__(self, uri: str) -> None:
        self._files, self._root = fs.FileSystem.from_uri(uri)

    def exists(self) -> bool:
        """Whether there is such a folder."""
        return bool(self._files.get_file_info(self._root).type == fs.FileType.Directory)

    def write(self, table: str, samples: pa.Table, now_s: float) -> None:
        """Samples, each into its hour."""
        hours = pc.cast(pc.floor(pc.divide(samples["at_s"], float(HOUR_S))), pa.int64())
        for hour in pc.unique(hours).to_pylist():
            within = samples.filter(pc.equal(hours, hour)).sort_by("at_s")
            self._put("samples", table, hour, f"part-{_number(now_s)}", within)

    def read(self, table: str, since_s: float, until_s: float) -> pa.Table:
        """Samples between two times, both included."""
        hours = sorted(self._hours("samples", table))
        found = [
            self.read_hour(table, hour)
            for hour in hours
            if hour * HOUR_S <= until_s and (hour + 1) * HOUR_S > since_s
        ]
        found.append(self._empty(table))
        at = pc.field("at_s")
        return pa.concat_tables(found).filter((at >= since_s) & (at <= until_s))

    def read_hour(self, table: str, hour: int, after: int = 0) -> pa.Table:
        """Samples of an hour, of parts with a number above `after` alone."""
        paths = [path for number, path in self._valid("samples", table, hour) if number > after]
        tables = [self._load(path) for path in paths]
        return pa.concat_tables([self._empty(table), *(t for t in tables if t is not None)])

    def read_rollup(self, table: str, hour: int) -> tuple[int, pa.Table] | None:
        """The rollup of an hour, and the number of the last part that is in it."""
        for number, path in self._valid("rollups", table, hour):
            rollup = self._load(path)
            if rollup is not None:
                return number, rollup
        return None

    def hours(self, table: str) -> list[int]:
        """Hours since 1970 of which there is something, in order."""
        return sorted(self._hours("samples", table) | self._hours("rollups", table))

    def is_open(self, table: str, hour: int) -> bool:
        """Whether an hour has parts that are not put together."""
        return any("/part-" in path for _, path in self._valid("samples", table, hour))

    def settle(self, table: str, hour: int, rollup: pa.Table | None) -> None:
        """Put the parts of an hour together, beside their rollup."""
        valid = list(self._valid("samples", table, hour))
        if not valid:
            return
        last = max(number for number, _ in valid)
        if rollup is not None:
            self._put("rollups", table, hour, f"upto-{last:017d}", rollup)
        whole = self.read_hour(table, hour).sort_by("at_s")
        kept = self._put("samples", table, hour, f"upto-{last:017d}", whole)
        for area in ("samples", "rollups"):
            valid_now = {path for _, path in self._valid(area, table, hour)} | {kept}
            for path in self._paths(self._folder(area, table, hour)):
                if path not in valid_now:
                    self._files.delete_file(path)

    def expire(self, oldest_s: float) -> None:
        """Delete the days that are over since then."""
        oldest = datetime.fromtimestamp(oldest_s, UTC).strftime("%Y-%m-%d")
        selector = fs.FileSelector(self._root, allow_not_found=True, recursive=True)
        for info in self._files.get_file_info(selector):
            day = re.search(r"day=([\d-]+)$", info.path)
            if day and day[1] < oldest:
                self._files.delete_dir(info.path)

    def _put(self, area: str, table: str, hour: int, name: str, rows: pa.Table) -> str:
        folder = self._folder(area, table, hour)
        self._files.create_dir(folder)
        path = f"{folder}/{name}.parquet"
        draft = f"{folder}/.{name}.draft"
        pq.write_table(rows, draft, filesystem=self._files, compression="zstd")
        self._files.move(draft, path)
        return path

    def _load(self, path: str) -> pa.Table | None:
        try:
            return pq.ParquetFile(self._files.open_input_file(path)).read()
        except (pa.ArrowInvalid, OSError) as error:
            logger.warning("%s is left out: %s", path, error)
            return None

    def _valid(self, area: str, table: str, hour: int) -> Iterator[tuple[int, str]]:
        """Files in order with their numbers: the last `upto`, and the parts after it."""
        files = [
            (int(found["number"]), found["kind"], path)
            for path in self._paths(self._folder(area, table, hour))
            if (found := _FILE.search(path))
        ]
        upto = max((number for number, kind, _ in files if kind == "upto"), default=0)
        for number, kind, path in sorted(files):
            if number > upto or (kind == "upto" and number == upto):
                yield number, path

    def _hours(self, area: str, table: str) -> set[int]:
        found = set()
        for path in self._paths(f"{self._root}/{area}/table={table}"):
            place = _FILE.search(path)
            if place:
                day = datetime.strptime(place["day"], "%Y-%m-%d").replace(tzinfo=UTC)
                found.add(int(day.timestamp()) // HOUR_S + int(place["hour"]))
        return found

    def _paths(self, folder: str) -> list[str]:
        selector = fs.FileSelector(folder, allow_not_found=True, recursive=True)
        infos = self._files.get_file_info(selector)
        return [info.path for info in infos if info.type == fs.FileType.File]

    def _folder(self, area: str, table: str, hour: int) -> str:
        when = datetime.fromtimestamp(hour * HOUR_S, UTC)
        return f"{self._root}/{area}/table={table}/day={when:%Y-%m-%d}/hour={when:%H}"

    @staticmethod
    def _empty(table: str) -> pa.Table:
        return schema(table).empty_table()


_counter = itertools.count()


def _number(now_s: float) -> str:
    """Grows with the time; two of the same millisecond differ."""
    return f"{int(now_s * 1000) * 100 + next(_counter) % 100:017d}"
