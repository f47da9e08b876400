"""The store against exact answers, and against all that may come in wrong."""

import math

import numpy as np
import pyarrow as pa
import pytest

from omnishot_ray.errors import InvalidParameters
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.query import Aggregate, Query
from omnishot_ray.metrics.shapes import SHAPES, measures
from omnishot_ray.metrics.sketches import ACCURACY
from omnishot_ray.metrics.store import MetricStore
from tests.unit.metered import NOON, Clock, batch, traffic

ALL = tuple(
    Aggregate(function, "total_ms")
    for function in ("sum", "avg", "min", "max", "p50", "p95", "p99")
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MetricStore:
    return MetricStore(MetricsConfig(), clock)


def frame(batches: list[pa.RecordBatch], since_s: float, until_s: float) -> pa.Table:
    table = pa.Table.from_batches(batches)
    at = table["at_s"].to_numpy()
    return table.filter(pa.array((at >= since_s) & (at < until_s)))


@pytest.mark.parametrize("window_s", [30, 500, 5000, 30_000])
def test_rollups_give_the_exact_answer_but_for_percentiles(
    store: MetricStore, clock: Clock, window_s: int
) -> None:
    batches = [traffic(2000, NOON - 600 * n - 600, NOON - 600 * n, seed=n) for n in range(60)]
    for one in reversed(batches):
        store.ingest("requests", one)
    answer = store.query(
        Query("requests", window_s, (Aggregate("count"), *ALL), ("route", "status"))
    )
    exact = frame(batches, NOON - window_s, NOON)
    routes, statuses = exact["route"].to_pylist(), exact["status"].to_pylist()
    keys = sorted(set(zip(routes, statuses, strict=True)))
    assert sorted(zip(*(answer[n].to_pylist() for n in ("route", "status")), strict=True)) == keys
    values = exact["total_ms"].to_numpy()
    for row in answer.to_pylist():
        mine = np.array(
            [(r, s) == (row["route"], row["status"]) for r, s in zip(routes, statuses, strict=True)]
        )
        assert row["count"] == mine.sum()
        assert row["sum_total_ms"] == pytest.approx(values[mine].sum())
        assert row["avg_total_ms"] == pytest.approx(values[mine].mean())
        assert row["min_total_ms"] == values[mine].min()
        assert row["max_total_ms"] == values[mine].max()
        for share in (50, 95, 99):
            true = np.quantile(values[mine], share / 100, method="lower")
            assert row[f"p{share}_total_ms"] == pytest.approx(true, rel=ACCURACY * 1.001)


def test_a_question_for_a_column_that_is_no_label_is_answered_by_the_samples(
    store: MetricStore,
) -> None:
    store.ingest("requests", traffic(500, NOON - 60, NOON))
    answer = store.query(Query("requests", 60, (Aggregate("count"), *ALL), ("request_id",)))
    assert answer.num_rows == 500
    assert set(answer["count"].to_pylist()) == {1}
    assert answer["p99_total_ms"].to_pylist() == answer["max_total_ms"].to_pylist()


def test_samples_and_rollups_agree(store: MetricStore) -> None:
    store.ingest("requests", traffic(5000, NOON - 60, NOON))
    aggregates = (Aggregate("count"), Aggregate("rate"), *ALL[:4])
    where = {"status": (200, 429), "route": ("/api/info", "/not/there")}
    by_cells = store.query(Query("requests", 60, aggregates, ("format",), where, 10.0))
    # bytes_in has no sketch, so this one needs the samples
    further = (*aggregates, Aggregate("p50", "bytes_in"))
    by_rows = store.query(Query("requests", 60, further, ("format",), where, 10.0))
    order = [("at_s", "ascending"), ("format", "ascending")]
    rows = by_rows.drop_columns("p50_bytes_in").sort_by(order).to_pylist()
    assert rows
    for one, other in zip(by_cells.sort_by(order).to_pylist(), rows, strict=True):
        assert one == pytest.approx(other)


def test_steps_begin_at_whole_multiples_and_hold_everything(store: MetricStore) -> None:
    store.ingest("requests", traffic(3000, NOON - 300, NOON))
    answer = store.query(Query("requests", 300, (Aggregate("count"), Aggregate("rate")), step_s=60))
    assert answer["at_s"].to_pylist() == [NOON - 300 + 60 * n for n in range(5)]
    assert sum(answer["count"].to_pylist()) == 3000
    assert answer["rate"].to_pylist() == [n / 60 for n in answer["count"].to_pylist()]


def test_nothing_is_one_row_or_none(store: MetricStore) -> None:
    plain = store.query(Query("requests", 60, (Aggregate("count"), *ALL)))
    assert plain.to_pylist() == [
        {"count": 0, "sum_total_ms": 0.0} | {a.name: None for a in ALL if a.function != "sum"}
    ]
    assert store.query(Query("requests", 60, group_by=("route",))).num_rows == 0


@pytest.mark.parametrize("table", SHAPES)
def test_every_table_can_be_asked_for_everything(store: MetricStore, table: str) -> None:
    store.ingest(table, batch(table, rows=3))
    shape = SHAPES[table]
    aggregates = [Aggregate("count")] + [Aggregate("avg", name) for name in measures(table)]
    aggregates += [Aggregate("p75", name) for name in shape.sketched]
    answer = store.query(Query(table, 60, tuple(aggregates), tuple(shape.labels), until_s=NOON + 1))
    (row,) = answer.to_pylist()
    assert row["count"] == 3


def test_bad_times_and_numbers_are_dropped_or_clamped_with_a_count(store: MetricStore) -> None:
    times = [math.nan, math.inf, NOON + 3600, NOON - 86_400 * 400, NOON - 1]
    values = [1.0, 1.0, math.nan, 1.0, math.inf]
    kept = store.ingest("requests", batch(rows=5, at_s=times, total_ms=values, route="/" * 5000))
    assert kept["at_s"].to_pylist() == [NOON, NOON - 1]
    assert kept["total_ms"].to_pylist() == [0.0, 0.0]
    assert {len(route) for route in kept["route"].to_pylist()} == {256}
    assert store.refused == {
        ("requests", "time"): 2,
        ("requests", "future"): 1,
        ("requests", "old"): 1,
        ("requests", "number"): 2,
        ("requests", "text"): 2,
    }


def test_missing_columns_are_empty_and_unknown_ones_are_refused(store: MetricStore) -> None:
    short = pa.RecordBatch.from_pydict({"status": [200], "at_s": [NOON - 1], "route": ["/"]})
    assert store.ingest("requests", short)["total_ms"].to_pylist() == [0.0]
    timeless = pa.RecordBatch.from_pydict({"status": [200]})
    assert store.ingest("requests", timeless).num_rows == 0
    with pytest.raises(InvalidParameters, match="no column 'nonsense'"):
        store.ingest("requests", pa.RecordBatch.from_pydict({"nonsense": [1]}))
    with pytest.raises(InvalidParameters, match="no table"):
        store.ingest("nonsense", short)


def test_labels_are_bounded_and_say_so(store: MetricStore) -> None:
    pages = [f"/page/{number}" for number in range(10_000)]
    for begin in range(0, 10_000, 1000):
        store.ingest(
            "vitals", batch("vitals", 1000, name="LCP", value=1.0, page=pages[begin : begin + 1000])
        )
    answer = store.query(Query("vitals", 60, group_by=("page",), until_s=NOON + 1))
    counts = {row["page"]: row["count"] for row in answer.to_pylist()}
    assert len(counts) == 256
    assert counts["other"] == 10_000 - 255
    assert store.overflows == {("vitals", "page"): 10_000 - 255}


def test_the_samples_in_memory_are_bounded(clock: Clock) -> None:
    store = MetricStore(MetricsConfig(raw_bytes=400_000), clock)
    for number in range(40):
        store.ingest("requests", traffic(500, NOON - 1, NOON, seed=number))
    assert 0 < store.held_bytes["samples"] <= 400_000
    assert store.query(Query("requests", 60))["count"].to_pylist() == [20_000]


def test_the_rollups_in_memory_are_bounded_and_the_finest_go_first(clock: Clock) -> None:
    free = MetricStore(MetricsConfig(), clock)
    bounded = MetricStore(MetricsConfig(rollup_bytes=4_000_000), clock)
    for number in range(80):
        clock.now = NOON + 360 * number
        one = traffic(200, clock.now - 300, clock.now, seed=number)
        free.ingest("requests", one)
        bounded.ingest("requests", one)
    assert free.held_bytes["rollups"] > 6_000_000
    assert bounded.held_bytes["rollups"] < 4_400_000
    whole = Query("requests", 360 * 81)
    assert bounded.query(whole)["count"].to_pylist() == [16_000]


def test_what_is_old_is_forgotten(clock: Clock) -> None:
    store = MetricStore(MetricsConfig(retention_days=1), clock)
    store.ingest("requests", traffic(1000, NOON - 60, NOON))
    before = store.held_bytes
    clock.now += 3 * 86_400
    store.ingest("gauges", batch("gauges", 1, at_s=clock.now))
    store.tick()
    after = store.held_bytes
    assert after["rollups"] < before["rollups"] / 10
    assert store.query(Query("requests", 5 * 86_400))["count"].to_pylist() == [0]


def test_a_dump_can_be_restored(store: MetricStore, clock: Clock) -> None:
    for number in range(3):
        store.ingest("requests", traffic(1000, NOON - 3600, NOON, seed=number))
    dumped = store.dump("requests", int(NOON) - 3600, int(NOON))
    assert dumped is not None
    other = MetricStore(MetricsConfig(), clock)
    other.ingest("requests", batch(rows=1, at_s=NOON - 7200, route="/first"))  # other codes
    other.restore("requests", dumped)
    query = Query("requests", 3600, (Aggregate("count"), *ALL), ("route", "format", "status"))
    order = [(name, "ascending") for name in query.group_by]
    for one, same in zip(
        store.query(query).sort_by(order).to_pylist(),
        other.query(query).sort_by(order).to_pylist(),
        strict=True,
    ):
        assert one == pytest.approx(same)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        (Query("nonsense", 60), "table"),
        (Query("requests", 60, group_by=("nonsense",)), "group_by"),
        (Query("requests", 60, group_by=("route", "route")), "group_by"),
        (Query("requests", 60, where={"nonsense": (1,)}), "group_by"),
        (Query("requests", 60, (Aggregate("p42", "total_ms"),)), "aggregations"),
        (Query("requests", 60, (Aggregate("avg", "route"),)), "aggregations"),
        (Query("requests", 0), "window"),
        (Query("requests", math.nan), "window"),
        (Query("requests", 60, step_s=0.5), "step"),
        (Query("requests", 1e9, step_s=1), "step"),
    ],
)
def test_a_wrong_question_is_refused_with_its_field(
    store: MetricStore, query: Query, name: str
) -> None:
    with pytest.raises(InvalidParameters) as refusal:
        store.query(query)
    assert [field.name for field in refusal.value.fields] == [name]
