"""What the processes of a service take while it is under load, seen from outside."""

import os
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, time
from typing import Any

import psutil

_SECOND_S = 1.0
_MEMORY_EVERY = 3
"""Seconds between two looks at the memory: the kernel walks all pages of all processes for it."""
_RESIZER, _GATEWAY = "ray::ServeReplica:omnishot:Resizer", "ray::ServeReplica:omnishot:Gateway"


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. `cpu` in cores since the look before; memory is PSS, each shared page by parts."""

    at_s: float
    cpu: float
    memory_mb: float
    replicas: int
    gateways: int
    processes: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def find_service(port: int) -> psutil.Process | None:
    """The first process of the service that listens on this port of this machine.

    HAProxy listens, an actor of Ray has started it, Ray that, and the command Ray: so up from the
    listener as long as the parent is one of these. None where nobody can be seen listening.
    """
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                if connection.pid is None:
                    continue
                process = psutil.Process(connection.pid)
                parent = process.parent()
                while parent is not None and _is_ours(parent):
                    process, parent = parent, parent.parent()
                return process
    return None


def _is_ours(process: psutil.Process) -> bool:
    try:
        line = " ".join(process.cmdline())
    except psutil.Error:
        return False
    words = ("ray::", "/ray/", "raylet", "omnishot serve", "omnishot_ray.cli serve", "serve run")
    return any(word in line for word in words)


class Watch:
    """Looks at a process and all that it started, once a second, in a thread of its own."""

    def __init__(self, root: psutil.Process) -> None:
        self.seen: list[Seen] = []
        self._root = root
        self._stop = threading.Event()
        self._cpu_s: dict[int, float] = {}
        self._at: float | None = None
        self._memory_mb = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Watch":
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.look(memory=True)

    def _run(self) -> None:
        count = 0
        while not self._stop.wait(_SECOND_S):
            count += 1
            self.look(memory=count % _MEMORY_EVERY == 0)

    def look(self, memory: bool = True) -> None:
        """Take note of what there is now."""
        family = self._family()
        now, cpu_s, used = monotonic(), {}, 0.0
        replicas = gateways = 0
        for process in family:
            try:
                times, title = process.cpu_times(), " ".join(process.cmdline())
            except psutil.Error:
                continue
            cpu_s[process.pid] = times.user + times.system
            used += max(0.0, cpu_s[process.pid] - self._cpu_s.get(process.pid, 0.0))
            replicas += title.startswith(_RESIZER)
            gateways += title.startswith(_GATEWAY)
        if memory:
            self._memory_mb = sum(_pss_mb(process.pid) for process in family)
        # Before the first look nothing is known of how long the CPU time took.
        cores = used / (now - self._at) if self._at is not None and now > self._at else 0.0
        self._cpu_s, self._at = cpu_s, now
        self.seen.append(Seen(time(), cores, self._memory_mb, replicas, gateways, len(cpu_s)))

    def _family(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            return []


def _pss_mb(pid: int) -> float:
    """proc(5), `smaps_rollup`; 0 for a process that has gone or is somebody else's."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def machine() -> dict[str, Any]:
    """What this ran on."""
    model = "unknown"
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_before": round(os.getloadavg()[0], 2),
    }
