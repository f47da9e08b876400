"""The hub without Ray: what is written, what is had again after a crash, and the way to it."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.hub import Hub
from omnishot_ray.metrics.local import LocalMetrics
from omnishot_ray.metrics.notes import begin, current, note_error, note_lane
from omnishot_ray.metrics.query import Aggregate, Query
from omnishot_ray.metrics.recorder import Recorder
from omnishot_ray.metrics.samples import GaugeSample, RequestSample
from omnishot_ray.metrics.store import MetricStore
from omnishot_ray.metrics.streams import columns, from_stream, pack, to_stream
from tests.unit.metered import NOON, Clock, batch, traffic

P99 = (Aggregate("count"), Aggregate("sum", "total_ms"), Aggregate("p99", "total_ms"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def config(tmp_path: Path) -> MetricsConfig:
    return MetricsConfig(uri=tmp_path.as_uri(), write_s=10)


def by_route(hub: Hub, window_s: float) -> list[dict[str, Any]]:
    rows = hub.query(Query("requests", window_s, P99, ("route",))).sort_by("route").to_pylist()
    assert isinstance(rows, list)
    return rows


def test_after_a_crash_all_but_the_last_interval_is_there(
    config: MetricsConfig, clock: Clock
) -> None:
    hub = Hub(config, clock)
    for _ in range(65):
        clock.now += 1
        hub.ingest({"requests": to_stream(traffic(10, clock.now - 1, clock.now))})
        hub.tick()
    after = Hub(config, clock)
    after.restore()
    (row,) = after.query(Query("requests", 3600)).to_pylist()
    assert 650 - 10 * 10 <= row["count"] < 650
    hub.write()
    whole = Hub(config, clock)
    whole.restore()
    for one, same in zip(by_route(whole, 600), by_route(hub, 600), strict=True):
        assert one == pytest.approx(same)
    assert whole.store.samples == {}, "what another hub has counted is not new"


def test_hours_that_are_over_are_put_together_and_had_again(
    config: MetricsConfig, clock: Clock, tmp_path: Path
) -> None:
    hub = Hub(config, clock)
    for number in range(240):  # two hours, a flush each half minute
        clock.now += 30
        hub.take("requests", traffic(20, clock.now - 30, clock.now, seed=number))
        hub.tick()
    clock.now += 300
    hub.tick()
    names = sorted(path.name.partition("-")[0] for path in tmp_path.rglob("*.parquet"))
    assert names == ["upto"] * 4, "samples and rollups of two hours"
    assert not list(tmp_path.rglob("*.draft"))
    after = Hub(config, clock)
    after.restore()
    for window_s in (7500.0, 20_000.0, 86_400.0 * 3):
        for one, same in zip(by_route(after, window_s), by_route(hub, window_s), strict=True):
            assert one == pytest.approx(same)
    samples = after.samples("requests", 86_400.0)
    assert samples.num_rows == 240 * 20
    assert samples["at_s"].to_pylist() == sorted(samples["at_s"].to_pylist())
    by_id = after.query(Query("requests", 86_400.0, group_by=("request_id",)))
    assert by_id.num_rows == 240 * 20


def test_a_crash_while_an_hour_is_put_together_doubles_nothing(
    config: MetricsConfig, clock: Clock, tmp_path: Path
) -> None:
    hub = Hub(config, clock)
    for _ in range(3):
        clock.now += 11
        hub.take("requests", traffic(100, clock.now - 11, clock.now))
        hub.tick()
    parts = {path: path.read_bytes() for path in tmp_path.rglob("part-*.parquet")}
    assert len(parts) == 3
    clock.now += 4000
    hub.tick()
    for path, content in parts.items():  # as if they had not been deleted yet
        path.write_bytes(content)
    after = Hub(config, clock)
    after.restore()
    assert after.query(Query("requests", 86_400.0))["count"].to_pylist() == [300]
    assert after.samples("requests", 86_400.0).num_rows == 300


def test_a_damaged_file_costs_only_itself(
    config: MetricsConfig, clock: Clock, tmp_path: Path
) -> None:
    hub = Hub(config, clock)
    for _ in range(2):
        clock.now += 11
        hub.take("requests", traffic(100, clock.now - 1, clock.now))
        hub.tick()
    first, _ = sorted(tmp_path.rglob("*.parquet"))
    first.write_bytes(b"PAR1 nonsense")
    after = Hub(config, clock)
    after.restore()
    assert after.query(Query("requests", 86_400.0))["count"].to_pylist() == [100]


def test_what_is_older_than_the_retention_is_deleted(tmp_path: Path, clock: Clock) -> None:
    hub = Hub(MetricsConfig(uri=tmp_path.as_uri(), retention_days=2), clock)
    for _ in range(5):
        hub.take("requests", traffic(10, clock.now - 60, clock.now))
        clock.now += 86_400
        hub.tick()
    days = {path.parent.parent.name for path in tmp_path.rglob("*.parquet")}
    assert len(days) <= 4


def test_storage_that_cannot_be_written_to_harms_nobody(tmp_path: Path, clock: Clock) -> None:
    hub = Hub(MetricsConfig(uri=(tmp_path / "metrics").as_uri()), clock)
    (tmp_path / "metrics").write_text("a file where a folder should be")
    hub.take("requests", traffic(10, clock.now - 1, clock.now))
    clock.now += 11
    hub.tick()
    assert hub.write_failures == 1
    assert hub.query(Query("requests", 60))["count"].to_pylist() == [10]
    (tmp_path / "metrics").unlink()
    clock.now += 11
    hub.tick()
    assert list(tmp_path.rglob("part-*.parquet"))


def test_streams_that_cannot_be_read_are_counted(config: MetricsConfig, clock: Clock) -> None:
    hub = Hub(config, clock)
    wrong = pa.RecordBatch.from_pydict({"nonsense": [1, 2]})
    hub.ingest({"requests": b"nonsense", "secrets": to_stream(wrong), "events": to_stream(wrong)})
    assert hub.store.refused == {
        ("requests", "stream"): 1,
        ("other", "table"): 2,
        ("events", "table"): 2,
    }


def test_the_alerting_is_called_after_each_tick_and_may_fail(clock: Clock) -> None:
    seen = []

    class Alerting:
        def evaluate(self, store: MetricStore, now_s: float) -> None:
            seen.append((store, now_s))
            raise RuntimeError("a fault of a rule")

        def alerts(self) -> list[dict[str, Any]]:
            return [{"name": "memory", "state": "active", "severity": "critical"}]

    hub = Hub(MetricsConfig(), clock, Alerting())
    hub.tick()
    assert seen == [(hub.store, NOON)]
    assert b'omnishot_alerts_active{severity="critical"} 1.0' in hub.exposition("")[0]


def request(number: int = 0) -> RequestSample:
    return RequestSample(at_s=NOON, route="/", status=200, request_id=str(number))


@pytest.mark.anyio
async def test_a_recorder_delivers_what_it_was_told() -> None:
    got: list[Mapping[str, bytes]] = []

    async def send(streams: Mapping[str, bytes]) -> bool:
        got.append(streams)
        return True

    recorder = Recorder("gateway-1", MetricsConfig(), send)
    for number in range(3):
        recorder.record(request(number))
    recorder.record(GaugeSample(at_s=NOON, process="another", waiting=4))
    await recorder.flush()
    await recorder.flush()  # nothing left to say
    (streams,) = got
    requests = from_stream(streams["requests"])
    assert requests["request_id"].to_pylist() == ["0", "1", "2"]
    assert set(requests["process"].to_pylist()) == {"gateway-1"}
    assert from_stream(streams["gauges"])["process"].to_pylist() == ["another"]


@pytest.mark.anyio
async def test_a_recorder_that_is_behind_drops_and_counts() -> None:
    answers = [False, True]
    got: list[int] = []

    async def send(streams: Mapping[str, bytes]) -> bool:
        is_there = answers.pop(0)
        if is_there:
            got.extend(from_stream(streams["requests"])["request_id"].to_pylist())
        return is_there

    recorder = Recorder("gateway-1", MetricsConfig(buffer_samples=5), send)
    for number in range(7):
        recorder.record(request(number))
    assert recorder.dropped == 2
    await recorder.flush()  # cannot be delivered: kept, and there is still no room
    recorder.record(request(7))
    assert recorder.dropped == 3
    await recorder.flush()
    assert got == ["0", "1", "2", "3", "4"]
    recorder.record(request(8))
    assert recorder.dropped == 3


@pytest.mark.anyio
async def test_a_recorder_outlives_faults_of_the_delivery() -> None:
    async def send(streams: Mapping[str, bytes]) -> bool:
        raise RuntimeError("broken")

    recorder = Recorder("gateway-1", MetricsConfig(), send)
    recorder.record(request())
    await recorder.flush()
    recorder.record(RequestSample(at_s=NOON, route=None, status="many"))  # type: ignore[arg-type]
    await recorder.flush()
    assert recorder.dropped == 2


@pytest.mark.anyio
async def test_recording_waits_for_nobody() -> None:
    never = asyncio.Event()

    async def send(streams: Mapping[str, bytes]) -> bool:
        await never.wait()
        return True

    recorder = Recorder("gateway-1", MetricsConfig(flush_s=0.01, buffer_samples=10), send)
    recorder.start()
    for number in range(30):
        recorder.record(request(number))
        await asyncio.sleep(0)
    assert recorder.dropped == 20
    never.set()
    await recorder.close()


def test_a_stream_is_what_was_packed() -> None:
    samples = [request(number) for number in range(4)]
    whole = from_stream(pack("requests", samples, "p"))
    assert whole.to_batches()[0] == columns("requests", samples, "p")


@pytest.mark.anyio
async def test_local_metrics_answer_at_once(clock: Clock) -> None:
    metrics = LocalMetrics(clock=clock)
    metrics.record(request())
    clock.now += 1
    answer = await metrics.query(Query("requests", 60))
    assert answer["count"].to_pylist() == [1]
    assert (await metrics.snapshot(60.0))["requests"]["total"] == 1
    assert (await metrics.samples("requests", 60.0)).num_rows == 1
    assert await metrics.alerts() == []
    assert await metrics.check_ready() == "ok"


def test_notes_without_a_request_do_nothing() -> None:
    note_lane("pool")
    note_error("internal")
    assert current() is None


@pytest.mark.anyio
async def test_notes_go_with_the_request() -> None:
    async def handle(lane: str) -> str:
        notes = begin()
        await asyncio.sleep(0)
        await asyncio.gather(asyncio.create_task(_work(lane)))
        return notes.lane

    async def _work(lane: str) -> None:
        note_lane(lane)

    lanes = await asyncio.gather(*(asyncio.create_task(handle(lane)) for lane in ("a", "b", "c")))
    assert lanes == ["a", "b", "c"]


def test_gauges_of_those_who_are_gone_are_not_shown(clock: Clock) -> None:
    hub = Hub(MetricsConfig(), clock)
    hub.take("gauges", batch("gauges", at_s=NOON, process="gateway-1", waiting=5))
    assert hub.snapshot(60, (), ())["queue"]["waiting"] == 5
    clock.now += 30
    assert hub.snapshot(60, (), ())["queue"]["waiting"] == 0
