"""A share of the pool for jobs, and what becomes of work whose replica is lost."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from omnishot_ray.cache.quarantine import Quarantine
from omnishot_ray.errors import EngineUnavailable, Quarantined, TaskTimeout
from omnishot_ray.imaging.options import Options
from omnishot_ray.protocol import AnyOutcome, AnyTask, ImageTask
from omnishot_ray.serving.dispatch import ReplicaLost
from omnishot_ray.serving.job_engine import PoolEngine
from tests.cached import result

TASK = ImageTask(b"", (Options(),), "a-job", known_digest="d" * 64)
pytestmark = pytest.mark.anyio


class PlayedPool:
    def __init__(self, replicas: int = 1, *outcomes: AnyOutcome | ReplicaLost | None) -> None:
        self.replicas = replicas
        self.outcomes = list(outcomes)
        self.limits: list[float] = []

    async def run(
        self, batch: Sequence[AnyTask], time_limits_s: Sequence[float]
    ) -> Sequence[AnyOutcome | None]:
        self.limits += time_limits_s
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, ReplicaLost):
            raise outcome
        return [outcome]

    async def check_ready(self) -> str:
        return "ok"


@pytest.mark.parametrize(
    ("replicas", "share", "slots"),
    [(0, 0.5, 0), (1, 0.5, 1), (2, 0.5, 1), (5, 0.5, 2), (8, 1.0, 8), (8, 0.01, 1)],
)
async def test_slots_are_a_share_of_the_replicas(replicas: int, share: float, slots: int) -> None:
    assert PoolEngine(PlayedPool(replicas), share).slots == slots


async def test_a_lost_replica_costs_another_try() -> None:
    made = result()
    pool = PlayedPool(1, ReplicaLost("died"), None, made)
    assert await PoolEngine(pool, 0.5).run(TASK, 9.0) is made
    assert pool.limits == [9.0] * 3
    pool = PlayedPool(1, *[ReplicaLost("died")] * 3)
    assert isinstance(await PoolEngine(pool, 0.5).run(TASK, 9.0), EngineUnavailable)


async def test_work_that_is_stopped_twice_is_turned_away(tmp_path: Path) -> None:
    pool = PlayedPool(1, TaskTimeout("x"), TaskTimeout("x"))
    engine = PoolEngine(pool, 0.5, Quarantine(str(tmp_path / "node")))
    for _ in range(2):
        assert isinstance(await engine.run(TASK, 9.0), TaskTimeout)
    assert isinstance(await engine.run(TASK, 9.0), Quarantined)
