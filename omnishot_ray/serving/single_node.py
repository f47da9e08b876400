"""A Ray of one node on this machine, with only the processes that serving needs.

`ray.init` starts three more: a dashboard that serves nothing when it is switched off, the monitor
of a cluster autoscaler, and one that copies the workers' logs to the driver. Left out, they save
285 MB, and a second or two of a start that is bound by its CPU work. `ray.cluster_utils` is Ray's
public way to start nodes in a process of one's own. The node's agent is told that the dashboard's
dependencies are missing, and does half as much for it: 24 MB in all processes.
"""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray._private import utils
from ray.cluster_utils import Cluster

from omnishot_ray.serving.pickling import spare_arrow

_OBJECT_STORE_BYTES = 512 * 1024 * 1024
"""Batches go by gRPC; the object store holds Serve's own small objects."""


@contextmanager
def single_node(num_cpus: int) -> Iterator[None]:
    """Start a node with `num_cpus` Ray CPUs, connect to it, and end both on the way out."""
    spare_arrow()
    with _taken_port() as port, _no_dashboard():
        cluster = Cluster()
        cluster.add_node(
            num_cpus=num_cpus,
            object_store_memory=_OBJECT_STORE_BYTES,
            include_dashboard=False,
            dashboard_port=port,  # Ray starts no dashboard process on a port that it cannot have
            include_log_monitor=False,
            no_monitor=True,
        )
    try:
        ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


@contextmanager
def _taken_port() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield int(holder.getsockname()[1])


@contextmanager
def _no_dashboard() -> Iterator[None]:
    """Ray looks whether it could start one, and says that there is none."""
    log = logging.getLogger("ray._private.services")
    level, look = log.level, utils.get_dashboard_dependency_error
    log.setLevel(logging.CRITICAL)
    utils.get_dashboard_dependency_error = lambda: ImportError("not wanted")
    try:
        yield
    finally:
        log.setLevel(level)
        utils.get_dashboard_dependency_error = look
