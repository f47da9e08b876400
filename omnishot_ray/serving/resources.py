"""What processes take: this one from within, others by looking at them."""

import ctypes
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from functools import cache
from time import monotonic, time

import psutil

from omnishot_ray.metrics.samples import ResourceSample

_SHM = "/dev/shm"
_LOOK_AGAIN_S = 10.0
"""How often it is looked which processes there are: it takes milliseconds."""
_RAY = ("raylet", "gcs_server", "ray::", "ray-dashboard", "redis-server")


class _MallInfo2(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and later (mallinfo(3))."""

    _fields_ = [  # as ctypes wants it
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


@cache
def _mallinfo2() -> Callable[[], _MallInfo2] | None:
    try:
        function = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError):  # another C library, or an old one
        return None
    function.restype = _MallInfo2
    call: Callable[[], _MallInfo2] = function
    return call


def heap_bytes() -> int:
    """What malloc has handed out in this process; 0 where it cannot be asked."""
    function = _mallinfo2()
    if function is None:
        return 0
    info = function()
    return int(info.uordblks + info.hblkhd)


class Watch:
    """One process, seen again and again."""

    def __init__(self, name: str, kind: str, pid: int | None = None) -> None:
        self._name = name
        self._kind = kind
        self._process = psutil.Process(pid)
        self._is_own = self._process.pid == os.getpid()
        self._node = socket.gethostname()
        self._at, self._cpu_s = monotonic(), self._cpu_time()

    def look(self, loop_lag_ms: float = 0.0) -> ResourceSample | None:
        """What it takes now, of CPU since the look before; None when it is gone."""
        try:
            with self._process.oneshot():
                now, cpu_s = monotonic(), self._cpu_time()
                cpu = max(0.0, cpu_s - self._cpu_s) / max(now - self._at, 1e-3)
                self._at, self._cpu_s = now, cpu_s
                sample = ResourceSample(
                    at_s=time(),
                    process=self._name,
                    kind=self._kind,
                    node=self._node,
                    pid=self._process.pid,
                    cpu=cpu,
                    rss_bytes=self._process.memory_info().rss,
                    threads=self._process.num_threads(),
                    open_files=self._process.num_fds(),
                    loop_lag_ms=loop_lag_ms,
                )
        except psutil.Error:
            return None
        if self._is_own:
            sample.heap_bytes = heap_bytes()
            sample.shm_used_share = _used_share(_SHM)
            sample.disk_used_share = _used_share("/")
            sample.memory_used_share = psutil.virtual_memory().percent / 100.0
        return sample

    def _cpu_time(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


class Neighbours:
    """HAProxy and Ray's own processes around a worker of Ray, which cannot speak for themselves."""

    def __init__(self) -> None:
        self._watches: dict[int, Watch] = {}
        self._looked_at = -_LOOK_AGAIN_S

    def look(self) -> Iterator[ResourceSample]:
        """What they take now."""
        if monotonic() - self._looked_at >= _LOOK_AGAIN_S:
            self._looked_at = monotonic()
            self._find()
        for pid, watch in list(self._watches.items()):
            sample = watch.look()
            if sample is None:
                del self._watches[pid]
            else:
                yield sample

    def _find(self) -> None:
        for process in _around(psutil.Process()):
            if process.pid in self._watches:
                continue
            try:
                kind, name = _classify(process.name(), " ".join(process.cmdline()[:1]))
                if kind:
                    self._watches[process.pid] = Watch(f"{name}-{process.pid}", kind, process.pid)
            except psutil.Error:
                continue


def _around(process: psutil.Process) -> Iterator[psutil.Process]:
    """All below the raylet that is this one's parent, and the raylet's own siblings."""
    try:
        raylet = process.parent()
        if raylet is None:
            return
        yield raylet
        yield from raylet.children(recursive=True)
        above = raylet.parent()
        if above is not None:
            yield from (child for child in above.children() if child.name() == "gcs_server")
    except psutil.Error:
        return


def _classify(name: str, command: str) -> tuple[str, str]:
    """Kind and name of a process; no kind for one that speaks for itself or is none of ours."""
    if name.startswith("haproxy"):
        return "haproxy", "haproxy"
    if command.startswith("ray::"):
        title = command.removeprefix("ray::").split(".")[0].split(" ")[0].lower()
        is_own = any(word in title for word in ("gateway", "resizer", "hub", "runner", "idle"))
        return ("", "") if is_own else ("ray", title.replace(":", "-")[:32])
    if any(name.startswith(known[:15]) for known in _RAY):
        return "ray", name
    return "", ""


def _used_share(path: str) -> float:
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return 0.0
    return usage.used / usage.total if usage.total else 0.0
