"""The service on several Ray nodes of this machine, steered by lines on standard input.

    python -m benchmarks.serving.nodes --port 8170 [--nodes 2]

Prints a JSON line for each thing that happens: `ready` with what runs on each node; after `kill N`
`killed` with the processes that were there; after `add` `added`. Ends when standard input does.
The head has no CPUs to give, so all gateways and Resizers are on the nodes that may die, each with
a Ray CPU of its own. One HAProxy, on the head: there is one machine and one port.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import psutil

from omnishot_ray.serving.environment import prepare_environment

CPUS_A_NODE = 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--nodes", type=int, default=2)
    given = parser.parse_args()
    from omnishot_ray.cli.serve import _move_taken_side_ports  # noqa: PLC0415

    prepare_environment("dev")
    _move_taken_side_ports()
    with _cluster(given.nodes) as (cluster, nodes):
        _serve(given.port, given.nodes)
        _say(event="ready", nodes=[_family(node) for node in nodes])
        for line in sys.stdin:
            word, _, rest = line.strip().partition(" ")
            if word == "kill":
                _say(event="killed", processes=_kill(cluster, nodes[int(rest)]))
            elif word == "add":
                nodes.append(cluster.add_node(num_cpus=CPUS_A_NODE, **_NODE))
                _say(event="added")
            elif word == "tell":
                _say(event="told", nodes=[_family(node) for node in nodes])
    return 0


_NODE = {"object_store_memory": 256 * 1024 * 1024, "include_log_monitor": False}


@contextmanager
def _cluster(count: int) -> Iterator[tuple[Any, list[Any]]]:
    import ray  # noqa: PLC0415
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    cluster = Cluster()
    cluster.add_node(num_cpus=0, include_dashboard=False, no_monitor=True, **_NODE)
    nodes = [cluster.add_node(num_cpus=CPUS_A_NODE, **_NODE) for _ in range(count)]
    try:
        ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
        yield cluster, nodes
    finally:
        ray.shutdown()
        cluster.shutdown()


def _serve(port: int, nodes: int) -> None:
    from ray import serve  # noqa: PLC0415
    from ray.serve.config import HTTPOptions, ProxyLocation  # noqa: PLC0415

    from omnishot_ray.app import assemble  # noqa: PLC0415
    from omnishot_ray.settings import load_settings  # noqa: PLC0415

    given = {
        "gateways": {"replicas": nodes, "num_cpus": 1},
        "resizers": {"min_replicas": nodes, "max_replicas": nodes},
    }
    serve.start(
        proxy_location=ProxyLocation.HeadOnly,
        http_options=HTTPOptions(host="127.0.0.1", port=port),
        logging_config={"enable_access_log": False},
    )
    serve.run(assemble(load_settings(given, os.environ)), name="omnishot", route_prefix="/")


def _processes(node: Any) -> list[psutil.Process]:
    found = []
    for kind in node.all_processes.values():
        for info in kind:
            try:
                process = psutil.Process(info.process.pid)
                found += [process, *process.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
    return found


def _family(node: Any) -> dict[str, int]:
    """How many gateways and Resizers a node has."""
    titles = []
    for process in _processes(node):
        try:
            titles.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return {
        name: sum(f"omnishot:{name}" in title for title in titles)
        for name in ("Gateway", "Resizer")
    }


def _kill(cluster: Any, node: Any) -> int:
    """As if the power went: everything of it at once."""
    processes = _processes(node)
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    cluster.remove_node(node, allow_graceful=False)
    return len(processes)


def _say(**told: Any) -> None:
    sys.stdout.write(json.dumps({"at_s": monotonic(), **told}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
