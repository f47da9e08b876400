"""A service of one's own for a load test: `omnishot serve` on a free port, ended afterwards."""

import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from os import environ, killpg
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import orjson
import psutil

from omnishot_ray.load.run import LoadTestFailed, is_loopback

_IN_MEMORY = Path("/dev/shm")
_READY_S = 120.0
_STOP_S = 60.0
_HURRY_S = 3.0


@contextmanager
def own_service(settings: Mapping[str, str] | None = None) -> Iterator[tuple[str, int]]:
    """Start it, wait until it is ready, and end it: its URL and first process.

    `settings` by their names in the environment, `OMNISHOT_…`. Results that a service before it
    has left for its node are out of its reach. Raises `LoadTestFailed`. Who leaves by an exception
    does not wait for requests that are being answered.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}"
    memory = _IN_MEMORY if _IN_MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="omnishot-", dir=memory) as folder,
        tempfile.TemporaryFile("w+") as log,
    ):
        node_dir = {"OMNISHOT_CACHE__NODE_DIR": folder}
        process = subprocess.Popen(
            [sys.executable, "-m", "omnishot_ray.cli", "serve", "--port", str(port)],
            env={**environ, **node_dir, **(settings or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Not a session of its own: Linux shares cores between sessions first (autogroup), and
            # visitors in another one than a busy service were put off by up to a second.
            process_group=0,
        )
        try:
            if fault := _wait_until_ready(process, url):
                log.seek(0)
                tail = log.read().strip().splitlines()[-10:]
                raise LoadTestFailed("\n".join([fault, *tail]))
            yield url, process.pid
        except BaseException:
            _stop(process, hurry=True)
            raise
        _stop(process)


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str) -> str:
    """Empty, or why it is not."""
    until = monotonic() + _READY_S
    while monotonic() < until:
        if process.poll() is not None:
            return f"The service ended with code {process.returncode}."
        with suppress(OSError), _open(f"{url}/ready", timeout_s=5) as answer:
            if answer.status == 200:
                return ""
        sleep(0.1)
    return f"The service was not ready within {_READY_S:g} s."


def _stop(process: "subprocess.Popen[bytes]", *, hurry: bool = False) -> None:
    """As Ctrl-C does, and as a second one in a hurry; what is left afterwards is killed."""
    family: set[psutil.Process] = set()
    with suppress(psutil.Error):
        family |= set(psutil.Process(process.pid).children(recursive=True))
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        if hurry:
            sleep(0.2)  # two at once would be one
            process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        process.wait(_HURRY_S if hurry else _STOP_S)
    with suppress(psutil.Error):
        family |= set(psutil.Process(process.pid).children(recursive=True))
    with suppress(ProcessLookupError):
        killpg(process.pid, signal.SIGKILL)
    # Ray's processes have groups of their own.
    for one in family:
        with suppress(psutil.Error):
            one.kill()
    process.wait()


def _open(wanted: urllib.request.Request | str, timeout_s: float = 10.0) -> Any:
    """Not by a proxy where it is this machine: 127.0.0.1 would be the proxy's own."""
    url = wanted if isinstance(wanted, str) else wanted.full_url
    if not is_loopback(url):
        return urllib.request.urlopen(wanted, timeout=timeout_s)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return direct.open(wanted, timeout=timeout_s)


def answers_at(url: str) -> str:
    """Empty when something answers `/health` there, else what is the matter."""
    try:
        with _open(f"{url}/health") as answer:
            return "" if answer.status == 200 else f"/health says {answer.status}"
    except (urllib.error.URLError, OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


def has_jobs(url: str, key: str = "") -> bool:
    """Whether the service takes jobs, by its OpenAPI document."""
    request = urllib.request.Request(f"{url}/openapi.json")
    if key:  # not to where it may be redirected
        request.add_unredirected_header("X-API-Key", key)
    try:
        with _open(request) as answer:
            return "/api/jobs" in orjson.loads(answer.read()).get("paths", {})
    except (urllib.error.URLError, OSError, ValueError):
        return False
