"""Serve's autoscaling policy for the Resizers: reads what Serve was told, asks, logs.

Serve calls it in its controller, in every round of its control loop. It ships this module's code by
value, so all that has a state or a type of its own lives in others. Serve's own delays and factors
apply to what a policy answers too; `app.py` sets them to nothing, for the rules here know better
why they wait.
"""

import logging
from typing import Any

from ray.serve.config import AutoscalingContext

from omnishot_ray.serving.autoscaling import Decision, Fleet, Signals, State, decide
from omnishot_ray.serving.load import read_active, read_cpu, read_loads
from omnishot_ray.serving.scaling import AutoscaleConfig

# Below Serve's own logger, or the controller would write it nowhere.
logger = logging.getLogger("ray.serve.omnishot")


class ResizerPolicy:
    """Made once in the controller for each deployed version; `config` are `AutoscaleConfig`'s."""

    def __init__(self, config: dict[str, Any], gateways: int) -> None:
        self._config = AutoscaleConfig(**config)
        self._gateways = gateways
        self._state = State()
        self._logged: tuple[int, int] | None = None
        self._heard = False
        self._failed = False

    def __call__(self, context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """Replicas to have. Whatever goes wrong here must not stop the controller's other work."""
        try:
            replicas = self._decide(context)
        except Exception:
            if not self._failed:
                logger.exception("no autoscaling of the Resizers: the policy failed")
            self._failed = True
            return context.target_num_replicas, {}
        self._failed = False
        return replicas, {}

    def _decide(self, context: AutoscalingContext) -> int:
        now_s = context.current_time
        fleet = Fleet(
            running=context.current_num_replicas,
            target=context.target_num_replicas,
            least=context.capacity_adjusted_min_replicas,
            most=context.capacity_adjusted_max_replicas,
        )
        signals = self._read_signals(context, fleet.running, now_s)
        decision = decide(fleet, signals, self._state, self._config, now_s)
        self._state = decision.state
        self._log(fleet, signals, decision)
        return decision.replicas

    def _read_signals(self, context: AutoscalingContext, running: int, now_s: float) -> Signals:
        told, stale_s = context.raw_metrics or {}, self._config.stale_s
        loads = read_loads(told, now_s, stale_s)
        active = read_active(told, running, now_s, stale_s)
        if active is None and running:
            active = context.total_num_requests / running
        cpu = read_cpu(told, running, now_s, stale_s) if running else None
        if not loads:
            return Signals(active=active, cpu=cpu, complete=False)
        waiting = sum(load.waiting for load in loads)
        # A gateway where nobody waits says nothing of what waiting costs.
        weighted = sum(load.p95_ms * load.waiting for load in loads)
        return Signals(
            queued_ms=sum(load.queued_ms for load in loads),
            waiting=waiting,
            active=active,
            cpu=cpu,
            p95_ms=weighted / waiting if waiting else 0.0,
            offered=sum(load.offered for load in loads),
            complete=len(loads) >= self._gateways,
        )

    def _log(self, fleet: Fleet, signals: Signals, decision: Decision) -> None:
        heard = signals.queued_ms is not None
        if heard != self._heard:
            logger.info(
                "load reports of the gateways %s", "are coming in" if heard else "have stopped"
            )
            self._heard = heard
        change = (fleet.target, decision.replicas)
        if decision.replicas == fleet.target or change == self._logged:
            self._logged = None if decision.replicas == fleet.target else self._logged
            return
        self._logged = change
        logger.info(
            "Resizers %d -> %d: %s",
            *change,
            decision.reason,
            extra={
                "replicas_before": fleet.target,
                "replicas_after": decision.replicas,
                "replicas_running": fleet.running,
                "signal": decision.signal,
                "value": decision.value,
                "threshold": decision.threshold,
                "queued_ms": signals.queued_ms,
                "waiting": signals.waiting,
                "active": signals.active,
                "cpu": signals.cpu,
                "p95_ms": signals.p95_ms,
                "offered": signals.offered,
            },
        )
