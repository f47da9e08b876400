"""The real service as a process of its own, as a person would start it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, deadline_s: float, what: str):
    """The first true value of `condition()`; fails when there is none before the deadline."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {deadline_s:g} s")


def answers(url: str) -> bool:
    """Whether somebody answers there with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Service:
    """A running service; `url` is where it listens."""

    def __init__(self, command: Sequence[str], port: int, environment: dict[str, str]) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.folder = tempfile.mkdtemp(prefix="service-")
        self.log = tempfile.NamedTemporaryFile("w+", prefix="service-", suffix=".log")  # noqa: SIM115
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "OMNISHOT_JOBS__DIR": self.folder, **environment},
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A shell starts what it puts in the background with Ctrl-C ignored, and all below it.
            preexec_fn=_heed_interrupts,
        )

    def wait_until_ready(self, deadline_s: float = 90) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, f"the service ended:\n{self.output()}"
            return answers(f"{self.url}/ready")

        wait_for(ready, deadline_s, "readiness")

    def output(self) -> str:
        return Path(self.log.name).read_text()

    def stop(self) -> int:
        """End it as Ctrl-C does; returns the exit code. What is left of it afterwards is killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout=60)
        finally:
            for pid in self.descendants():
                _kill(pid)
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.log.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def descendants(self) -> list[int]:
        """Processes of the service's session: Ray's processes stay in it."""
        return [pid for pid in _pids() if _session(pid) == self.process.pid and pid != os.getpid()]

    def replicas(self, name: str) -> list[int]:
        """Process ids of a deployment's replicas."""
        title = f"ray::ServeReplica:omnishot:{name}"
        return [pid for pid in self.descendants() if _command(pid).startswith(title)]

    def processes(self, name: str) -> list[int]:
        """Process ids of a program that the service has started."""
        return [pid for pid in self.descendants() if name in _command(pid).partition(" ")[0]]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return -1


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def start_service(
    *arguments: str, environment: dict[str, str] | None = None, deadline_s: float = 90
) -> Service:
    """`omnishot serve` on a free port, waited for."""
    port = free_port()
    command = [str(BIN / "omnishot"), "serve", "--port", str(port), *arguments]
    service = Service(command, port, environment or {})
    try:
        service.wait_until_ready(deadline_s)
    except BaseException:
        service.stop()
        raise
    return service
