"""The policy as Serve has it: shipped, bounded and delayed by Serve's own code."""

import logging
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from ray.serve._private.autoscaling_state import DeploymentAutoscalingState
from ray.serve._private.common import (
    DeploymentID,
    ReplicaID,
    ReplicaMetricReport,
    TimeStampedValue,
)
from ray.serve._private.config import DeploymentConfig
from ray.serve._private.deployment_info import DeploymentInfo

from omnishot_ray.app import assemble
from omnishot_ray.serving.load import GatewayLoad, LoadBook
from omnishot_ray.serving.scaling import AutoscaleConfig, GatewayScale, ResizerScale
from omnishot_ray.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")
RESIZERS = DeploymentID("Resizer", "omnishot")


class Controller:
    """Serve's own bookkeeping for one deployment, with its clock in our hands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
        self.now = 1000.0
        monkeypatch.setattr("ray.serve._private.autoscaling_state.time.time", lambda: self.now)
        gateways = assemble(settings)
        (resizers,) = gateways._bound_deployment.init_args[:1]
        config = resizers._bound_deployment._deployment_config
        # As it goes to the controller and back.
        shipped = DeploymentConfig.from_proto_bytes(config.to_proto_bytes())
        self.state = DeploymentAutoscalingState(RESIZERS)
        info = DeploymentInfo(shipped, None, 0, None, "1")  # type: ignore[arg-type]
        self.target = self.state.register(info, 1)
        self.start(self.target)

    def start(self, replicas: int) -> None:
        self.replicas = [ReplicaID(str(number), RESIZERS) for number in range(replicas)]
        self.state.update_running_replica_ids(self.replicas)

    def tell(self, *stats: dict[str, float]) -> None:
        for replica, values in zip(self.replicas, stats, strict=True):
            series = {name: [TimeStampedValue(self.now, one)] for name, one in values.items()}
            self.state.record_request_metrics_for_replica(
                ReplicaMetricReport(replica, series, self.now)
            )

    def decide(self) -> int:
        self.target = self.state.get_decision_num_replicas(self.target)
        self.now += 0.25
        return self.target


@pytest.fixture
def logged() -> Iterator[list[logging.LogRecord]]:
    """Serve's logger hands nothing to its parents."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger("ray.serve.omnishot")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch) -> Controller:
    scale = ResizerScale(max_replicas=8)
    return Controller(monkeypatch, Settings(gateways=GatewayScale(2), resizers=scale))


def stats(at_s: float, *queued_ms: float, cpu_s: float = 0.0) -> dict[str, float]:
    """What a Resizer tells that has these gateways' reports."""
    clock, cpu = iter((0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)), iter((0.0, cpu_s))
    book = LoadBook(clock=lambda: next(clock), cpu_clock=lambda: next(cpu))
    for number, one in enumerate(queued_ms):
        book.note(GatewayLoad(str(number), one, int(one > 0), 900.0, 0.0, at_s))
    return book.stats()


def messages(logged: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in logged]


def test_work_that_waits_adds_replicas_and_says_so_once(
    controller: Controller, logged: list[logging.LogRecord]
) -> None:
    targets = []
    for _ in range(12):
        controller.tell(stats(controller.now, 9_000.0, 12_000.0))
        targets.append(controller.decide())
    assert targets == [1] * 8 + [5] * 4
    assert messages(logged) == [
        "load reports of the gateways are coming in",
        "Resizers 1 -> 5: queued_ms 2.1e+04 (threshold 5000)",
    ]
    fields: dict[str, Any] = vars(logged[-1])
    assert (fields["signal"], fields["value"], fields["threshold"]) == ("queued_ms", 21e3, 5e3)
    assert (fields["replicas_before"], fields["replicas_after"], fields["cpu"]) == (1, 5, 0.0)


def test_without_reports_nothing_is_taken_away(
    controller: Controller, logged: list[logging.LogRecord]
) -> None:
    controller.target = 3
    controller.start(3)
    assert {controller.decide() for _ in range(600)} == {3}
    assert messages(logged) == []


def test_calm_takes_replicas_away_after_its_minute(controller: Controller) -> None:
    controller.target = 4
    controller.start(4)
    targets = []
    for _ in range(4 * 62):
        controller.tell(*(stats(controller.now, 0.0, 0.0, cpu_s=0.05) for _ in range(4)))
        targets.append(controller.decide())
    assert targets == [4] * 240 + [3] * 8


def test_one_of_two_gateways_is_not_enough_to_go_down(controller: Controller) -> None:
    controller.target = 2
    controller.start(2)
    for _ in range(400):
        controller.tell(*(stats(controller.now, 0.0, cpu_s=0.05) for _ in range(2)))
        assert controller.decide() == 2


def test_a_fault_in_the_policy_holds_the_number_and_is_told_once(
    controller: Controller, logged: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(controller.state, "_get_raw_custom_metrics", fail)
    assert [controller.decide() for _ in range(5)] == [1] * 5
    assert messages(logged) == ["no autoscaling of the Resizers: the policy failed"]


def test_settings_reach_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    config = AutoscaleConfig(drain_s=1.0, upscale_delay_s=0.0, step_up=1)
    scale = ResizerScale(max_replicas=8, autoscale=config)
    controller = Controller(monkeypatch, Settings(resizers=scale))
    controller.tell(stats(controller.now, 1_500.0))
    assert controller.decide() == 2
    assert asdict(config)["drain_s"] == 1.0
