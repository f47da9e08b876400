"""The memory of this process in bytes, as Linux counts it (proc(5): `status`, `clear_refs`)."""

from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def resident_bytes() -> int:
    """What is in memory now."""
    return _read("VmRSS")


def virtual_bytes() -> int:
    """The whole address space, used or not: what RLIMIT_AS limits."""
    return _read("VmSize")


def start_peak() -> int:
    """Forget the peak so far; returns what is resident now."""
    _CLEAR.write_text("5")
    return resident_bytes()


def peak_bytes() -> int:
    """The most that was resident since `start_peak`."""
    return _read("VmHWM")


def _read(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)
