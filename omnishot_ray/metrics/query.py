"""A question to the tables, and who can be asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from omnishot_ray.metrics.samples import Sample

if TYPE_CHECKING:
    import pyarrow as pa

FUNCTIONS = ("count", "rate", "sum", "avg", "min", "max", "p50", "p75", "p90", "p95", "p99")
"""`count` is rows, `rate` rows a second; the others are of a column."""

MOST_SAMPLES = 200_000
"""Of one answer."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`p99` of `total_ms`; `count` and `rate` need no column."""

    function: str
    column: str = ""

    @property
    def name(self) -> str:
        """Of the column in the answer: `p99_total_ms`, `count`."""
        return f"{self.function}_{self.column}" if self.column else self.function


@dataclass(frozen=True, slots=True)
class Query:
    """Rows of the last `window_s` seconds before `until_s` (now when None).

    With `step_s` the answer has a row for each step of time, its beginning in `at_s`. `where` holds
    the allowed values of columns.
    """

    table: str
    window_s: float
    aggregates: tuple[Aggregate, ...] = (Aggregate("count"),)
    group_by: tuple[str, ...] = ()
    where: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    step_s: float | None = None
    until_s: float | None = None


class Notebook(Protocol):
    """Where samples go."""

    def record(self, sample: Sample) -> None:
        """Take note of it. Never waits, never raises; drops with a count when behind."""
        ...


class Metrics(Notebook, Protocol):
    """Where samples go and figures come from: the hub, or a store in the same process."""

    async def query(self, query: Query) -> "pa.Table":
        """Columns: `at_s` where the query has a step, those of `group_by`, the aggregates.

        Raises `InvalidParameters` for a table, column or function that is not there, and
        `EngineUnavailable` when the hub does not answer.
        """
        ...

    async def alerts(self) -> list[dict[str, Any]]:
        """Active ones first, then those resolved of late, the newest first."""
        ...


class LiveMetrics(Metrics, Protocol):
    """Also what is made of all tables at once, for those who watch the service."""

    async def snapshot(
        self, window_s: float, group_by: tuple[str, ...] = (), functions: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """The figures of `GET /api/metrics`.

        Raises as `query` does.
        """
        ...

    async def samples(self, table: str, window_s: float) -> "pa.Table":
        """The newest samples as they came, at most `MOST_SAMPLES`, in the order of time.

        Raises as `query` does.
        """
        ...

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Everything for Prometheus in the format that `accept` prefers, and its content type."""
        ...

    async def check_ready(self) -> str:
        """`ok` when the hub answers, else what is the matter."""
        ...
