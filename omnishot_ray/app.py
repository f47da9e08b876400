"""The one place where everything is wired together: settings in, a Serve application out."""

import os
from dataclasses import asdict
from functools import partial
from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, RequestRouterConfig

from omnishot_ray.jobs.building import JobSettings
from omnishot_ray.metrics.analysis.recommendations import Knobs
from omnishot_ray.serving.autoscaling import SETTLE_S
from omnishot_ray.serving.gateway import Gateway
from omnishot_ray.serving.job_runner import JobRunner
from omnishot_ray.serving.metrics_client import watch_resizer
from omnishot_ray.serving.resizer import Resizer
from omnishot_ray.settings import Settings, load_settings


def build_app(args: dict[str, Any]) -> Application:
    """Serve's application builder: `import_path: omnishot_ray.app:build_app`.

    `args` are settings as nested values (see `omnishot_ray.settings`); the environment of the
    process that builds the application overrides them. Raises `ConfigError`.
    """
    return assemble(load_settings(args, os.environ))


def assemble(settings: Settings) -> Application:
    """Wrap the plain classes as deployments and bind them to each other."""
    scale = settings.resizers
    resizers = serve.deployment(
        Resizer,
        name="Resizer",
        # The gateways bound what is in flight; this only has to be above their sum.
        max_ongoing_requests=max(
            16, 2 * settings.gateways.replicas * settings.dispatch.batches_per_replica
        ),
        autoscaling_config=AutoscalingConfig(
            min_replicas=scale.min_replicas,
            max_replicas=scale.max_replicas,
            target_ongoing_requests=scale.autoscale.target_batches,
            metrics_interval_s=1.0,
            look_back_period_s=SETTLE_S,
            # The policy has its own; Serve would wait once more.
            upscale_delay_s=0.0,
            downscale_delay_s=0.0,
            policy=AutoscalingPolicy(
                policy_function="omnishot_ray.serving.policy:ResizerPolicy",
                policy_kwargs={
                    "config": asdict(scale.autoscale),
                    "gateways": settings.gateways.replicas,
                },
            ),
        ),
        request_router_config=RequestRouterConfig(
            request_router_class="omnishot_ray.serving.routing:LeastLoadedRouter"
        ),
        ray_actor_options={"num_cpus": scale.num_cpus},
        graceful_shutdown_timeout_s=15,
    ).bind(
        settings.limits,
        scale.niceness,
        partial(watch_resizer, settings.metrics, settings.logs)
        if settings.metrics.enabled
        else None,
        settings.logs,
    )
    gateways = serve.deployment(
        serve.ingress()(Gateway),
        name="Gateway",
        num_replicas=settings.gateways.replicas,
        max_ongoing_requests=settings.gateways.max_ongoing_requests,
        ray_actor_options={"num_cpus": settings.gateways.num_cpus},
        # Serve makes a record for each request even where its access log is off.
        logging_config={"log_level": "WARNING", "enable_access_log": False},
        graceful_shutdown_timeout_s=15,
    )
    jobs = settings.for_jobs
    runner = _job_runner(settings, jobs, resizers) if jobs else None
    return gateways.bind(
        resizers,
        api=settings.api,
        dispatch=settings.dispatch,
        limits=settings.limits,
        cache=settings.cache,
        metrics=settings.metrics,
        fetch=settings.fetch,
        storage=settings.storage,
        jobs=jobs,
        runner=runner,
        analytics=settings.analytics,
        knobs=Knobs(
            settings.cache.memory_bytes,
            settings.gateways.replicas,
            settings.dispatch.inline_ms,
            settings.resizers.max_replicas,
        ),
        gateways=settings.gateways.replicas,
        most_at_once=settings.gateways.max_ongoing_requests,
        logs=settings.logs,
        traces=settings.traces,
    )


def _job_runner(settings: Settings, jobs: JobSettings, resizers: Application) -> Application:
    idle_s = jobs.jobs.idle_s
    while_needed = AutoscalingConfig(
        min_replicas=0,
        initial_replicas=0,
        max_replicas=1,
        target_ongoing_requests=1,
        metrics_interval_s=4.0,
        look_back_period_s=8.0,
        upscale_delay_s=0.0,
        downscale_to_zero_delay_s=idle_s,
    )
    return serve.deployment(
        JobRunner,
        name="JobRunner",
        autoscaling_config=while_needed if idle_s else None,  # else one replica, for good
        # Beside the Resizers: what it does itself is to read, write and wait.
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=2,
        logging_config={"log_level": "WARNING", "enable_access_log": False},
        graceful_shutdown_timeout_s=15,
    ).bind(
        resizers,
        jobs,
        settings.limits,
        settings.cache.node_dir,
        settings.metrics,
        settings.logs,
    )
