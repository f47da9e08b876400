"""The environment that Ray needs before it starts, on every node. Values given by the user win.

`cluster.yaml` and `ray.env` carry the same names; a test holds them together.
"""

import os
from collections.abc import MutableMapping

RAY_ENVIRONMENT = {
    # HAProxy in front of the gateways: 0.5 ms and 4 000 req/s where the Python proxy takes 6 ms
    # and gives 256 req/s.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    # User code, router and replica share one event loop; handle calls go by gRPC.
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # Batches with originals of up to 32 MiB go through that gRPC.
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(256 * 1024 * 1024),
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000",
    # HAProxy's own metrics take an eighth of a core.
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    # Ray starts workers at nice 15; these are the service, not background work.
    "RAY_worker_niceness": "0",
    # Image work leaves malloc's arenas fragmented; two are enough for one engine thread.
    "MALLOC_ARENA_MAX": "2",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def prepare_environment(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set what is not set yet. Has to run before `ray` is imported."""
    for name, value in RAY_ENVIRONMENT.items():
        environment.setdefault(name, value)
