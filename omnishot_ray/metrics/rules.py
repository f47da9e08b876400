"""Alert rules: one line of text each, such as

    response-slow warning p95 requests.total_ms > 3000 over 5m for 1m clear 2700 least 20
    errors critical share requests status=5xx > 0.05 over 5m
    hits warning share requests cache=hit-memory|joined of cache=hit-memory|joined|miss < 0.6

A name, a severity, what is measured, a threshold, and how long: `over` the last minutes, `for` how
long it has to stay so before anybody is told, `clear` where it counts as mended (hysteresis: by
default a tenth of the threshold on the good side), `least` how many rows it takes to judge.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from omnishot_ray.metrics.query import FUNCTIONS, Aggregate, Query
from omnishot_ray.metrics.samples import TABLES

if TYPE_CHECKING:
    import pyarrow as pa

SEVERITIES = ("info", "warning", "critical")
_COUNT = Aggregate("count")
_ROW_FUNCTIONS = ("count", "rate")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d|)")
_LONGEST_S = 86400.0

Conditions = Mapping[str, tuple[str | int, ...]]


@dataclass(frozen=True, slots=True)
class AlertRule:
    """What is measured, and from where on somebody has to know."""

    name: str
    severity: str
    table: str
    aggregate: Aggregate | None
    """None: the share of the rows of `among` that `where` holds for."""
    above: bool
    threshold: float
    clear: float
    """On the good side of the threshold or on it."""
    window_s: float = 300.0
    for_s: float = 0.0
    least: int = 1
    where: Conditions = field(default_factory=dict)
    among: Conditions = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """What is measured, as the rule's text says it."""
        if self.aggregate is None:
            among = f" of {_told(self.among)}" if self.among else ""
            return f"share {self.table} {_told(self.where)}{among}"
        column = f".{self.aggregate.column}" if self.aggregate.column else ""
        where = f" {_told(self.where)}" if self.where else ""
        return f"{self.aggregate.function} {self.table}{column}{where}"

    def is_breached(self, value: float) -> bool:
        """Whether the value is beyond the threshold."""
        return value > self.threshold if self.above else value < self.threshold

    def is_clear(self, value: float) -> bool:
        """Whether an alert that is on may end: between threshold and `clear` it stays as it is."""
        return value <= self.clear if self.above else value >= self.clear

    def measure(self, ask: Callable[[Query], "pa.Table"], now: float) -> float | None:
        """The value now; None where there are too few rows to judge by."""
        if self.aggregate is None:
            total = self._rows(ask, self.among, now)
            if total < self.least:
                return None
            return self._rows(ask, {**self.among, **self.where}, now) / total
        counts_rows = self.aggregate.function in _ROW_FUNCTIONS
        wanted = (self.aggregate,) if counts_rows else (self.aggregate, _COUNT)
        found = ask(Query(self.table, self.window_s, wanted, where=self.where, until_s=now))
        if not found.num_rows:
            return 0.0 if counts_rows else None
        if not counts_rows and (found.column("count")[0].as_py() or 0) < self.least:
            return None
        value = found.column(self.aggregate.name)[0].as_py()
        return None if value is None or not math.isfinite(value) else float(value)

    def _rows(self, ask: Callable[[Query], "pa.Table"], where: Conditions, now: float) -> int:
        found = ask(Query(self.table, self.window_s, (_COUNT,), where=where, until_s=now))
        return int(found.column("count")[0].as_py() or 0) if found.num_rows else 0


def parse_rule(text: str) -> AlertRule:
    """The rule that a line says.

    Raises:
        ValueError: it cannot be read; says which word, and what would be right.
    """
    words = text.split()
    try:
        name, severity, function, subject, *rest = words
    except ValueError:
        raise _wrong(text, "it has to begin: NAME SEVERITY FUNCTION TABLE.COLUMN") from None
    if not _NAME.fullmatch(name):
        raise _wrong(text, "the name is of small letters, digits and dashes, at most 64")
    if severity not in SEVERITIES:
        raise _wrong(text, f"the severity is one of {', '.join(SEVERITIES)}")
    table, _, column = subject.partition(".")
    if table not in TABLES:
        raise _wrong(text, f"the table is one of {', '.join(TABLES)}")
    aggregate = None if function == "share" else _aggregate(text, function, table, column)
    where, rest = _conditions(text, table, rest)
    among: Conditions = {}
    if rest[:1] == ["of"]:
        among, rest = _conditions(text, table, rest[1:])
    if aggregate is None and (not where or column):
        raise _wrong(text, "a share is of a table and says of what: share requests status=5xx")
    if aggregate is not None and among:
        raise _wrong(text, "only a share is `of` something")
    if rest[:1] not in (["<"], [">"]) or len(rest) % 2:
        raise _wrong(text, "after what is measured comes < or >, a number, then pairs of words")
    above = rest[0] == ">"
    said = _tail(text, rest[2:])
    threshold = _number(text, rest[1])
    clear = _number(text, said["clear"]) if "clear" in said else _by_default(threshold, above)
    if clear > threshold if above else clear < threshold:
        raise _wrong(text, "`clear` lies on the good side of the threshold")
    least = _number(text, said.get("least", "1"))
    window_s = _duration(text, said.get("over", "5m"))
    if not window_s:
        raise _wrong(text, "`over` is more than nothing")
    return AlertRule(
        name, severity, table, aggregate, above, threshold, clear, window_s,
        _duration(text, said.get("for", "0s")), max(1, int(least)), where, among,
    )  # fmt: skip


def _by_default(threshold: float, above: bool) -> float:
    tenth = abs(threshold) / 10.0
    return threshold - tenth if above else threshold + tenth


def _columns(table: str) -> dict[str, object]:
    return {item.name: item.type for item in fields(TABLES[table])}


def _aggregate(text: str, function: str, table: str, column: str) -> Aggregate:
    if function not in FUNCTIONS:
        raise _wrong(text, f"the function is share or one of {', '.join(FUNCTIONS)}")
    if function in _ROW_FUNCTIONS:
        if column:
            raise _wrong(text, f"{function} is of rows: name the table alone")
        return Aggregate(function)
    columns = _columns(table)
    if columns.get(column, str) is str:
        numeric = [name for name, kind in columns.items() if kind is not str]
        raise _wrong(text, f"the column of {table} is one of {', '.join(numeric)}")
    return Aggregate(function, column)


def _conditions(text: str, table: str, words: list[str]) -> tuple[Conditions, list[str]]:
    """`column=a|b` as often as it comes, and the words after it."""
    found: dict[str, tuple[str | int, ...]] = {}
    while words and "=" in words[0]:
        column, _, values = words[0].partition("=")
        if column not in _columns(table):
            raise _wrong(text, f"{table} has no column {column[:40]}")
        read = _reader(text, table, column)
        found[column] = tuple(value for part in values.split("|") for value in read(part))
        words = words[1:]
    return found, words


def _reader(text: str, table: str, column: str) -> Callable[[str], tuple[str | int, ...]]:
    """Reads one value of a column; `5xx` is all those statuses."""
    if _columns(table)[column] is str:
        return lambda part: (part,)

    def read(part: str) -> tuple[str | int, ...]:
        if column == "status" and re.fullmatch("[1-5]xx", part):
            first = int(part[0]) * 100
            return tuple(range(first, first + 100))
        if not re.fullmatch(r"-?\d{1,18}", part):
            raise _wrong(text, f"{part[:40]!r} is not a whole number")
        return (int(part),)

    return read


def _tail(text: str, words: list[str]) -> dict[str, str]:
    said = dict(zip(words[::2], words[1::2], strict=True))
    if set(said) - {"over", "for", "clear", "least"} or 2 * len(said) != len(words):
        raise _wrong(text, "the end is of over, for, clear and least, each once with its value")
    return said


def _number(text: str, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _wrong(text, f"{word[:40]!r} is not a number")
    return value


def _duration(text: str, word: str) -> float:
    found = _DURATION.fullmatch(word)
    seconds = float(found[1]) * _UNITS[found[2]] if found else math.inf
    if seconds > _LONGEST_S:
        raise _wrong(text, f"{word[:40]!r} is not a time of at most a day such as 30s, 5m, 1h")
    return seconds


def _told(conditions: Conditions) -> str:
    return " ".join(f"{column}={_values(values)}" for column, values in conditions.items())


def _values(values: tuple[str | int, ...]) -> str:
    if len(values) == 100 and isinstance(values[0], int):
        return f"{values[0] // 100}xx"
    return "|".join(map(str, values))


def _wrong(text: str, right: str) -> ValueError:
    return ValueError(f"the alert rule {text[:120]!r} cannot be read: {right}")
