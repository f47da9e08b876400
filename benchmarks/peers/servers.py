"""The two servers: started here, awaited, asked, and ended with all that they started."""

import http.client
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

PEER_FOLDER = Path(__file__).resolve().parent / "express_sharp"
# What would move sharp from its defaults, were it set in the shell.
PEER_UNSET = ("UV_THREADPOOL_SIZE", "VIPS_CONCURRENCY", "NODE_OPTIONS")
STOP_DEADLINE_S = 60


class ServerError(Exception):
    """A server that cannot be installed or started, or does not become ready."""


@dataclass(frozen=True)
class Server:
    """A server that answers at `url`; `pid` is its first process, None where somebody else's."""

    url: str
    pid: int | None = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Its processes stand still for as long as the block lasts, and take no time of a core."""
        processes = _family(self.pid) if self.pid else []
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        try:
            yield
        finally:
            for process in reversed(processes):
                with suppress(psutil.NoSuchProcess):
                    process.resume()


def _family(pid: int) -> list[psutil.Process]:
    first = psutil.Process(pid)
    return [first, *first.children(recursive=True)]


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


def ask(url: str, jpeg: bytes | None = None, timeout_s: float = 60) -> Answer:
    """One GET, or a POST of `jpeg`. OSError or HTTPException when there is no answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    headers = {} if jpeg is None else {"Content-Type": "image/jpeg"}
    try:
        connection.request("GET" if jpeg is None else "POST", path, jpeg, headers)
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())
    finally:
        connection.close()


@contextmanager
def peer(ready_timeout_s: float) -> Iterator[Server]:
    """The Express server, for as long as the block lasts."""
    node = shutil.which("node")
    if node is None:
        raise ServerError("node is not on the PATH")
    if not (PEER_FOLDER / "node_modules").is_dir():
        install_peer()
    environment = {name: value for name, value in os.environ.items() if name not in PEER_UNSET}
    port = _free_port()
    environment |= {"NODE_ENV": "production", "PORT": str(port)}
    command = [node, str(PEER_FOLDER / "server.js")]
    with _running(
        command, environment, f"http://127.0.0.1:{port}", "/health", ready_timeout_s
    ) as server:
        yield server


@contextmanager
def ours(command: str, ready_timeout_s: float) -> Iterator[Server]:
    """Our server. `command` is split as a shell would; its {port} gets a free one."""
    port = _free_port()
    program, *arguments = shlex.split(command.format(port=port))
    # The command of the environment that this script runs in, which need not be on the PATH.
    beside = Path(sys.executable).parent / program
    if not (found := str(beside) if beside.is_file() else shutil.which(program)):
        raise ServerError(
            f"{program} is neither beside {Path(sys.executable).name} nor on the PATH"
        )
    base = f"http://127.0.0.1:{port}"
    with _running([found, *arguments], dict(os.environ), base, "/ready", ready_timeout_s) as server:
        yield server


def install_peer() -> None:
    """`npm ci` by the lock file. ServerError when npm fails."""
    npm = shutil.which("npm")
    if npm is None:
        raise ServerError("npm is not on the PATH")
    run = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund"],
        cwd=PEER_FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        raise ServerError(f"npm ci failed:\n{run.stderr.strip()}")


@contextmanager
def _running(
    command: Sequence[str],
    environment: Mapping[str, str],
    base: str,
    ready_path: str,
    ready_timeout_s: float,
) -> Iterator[Server]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,  # see `omnishot_ray.load.service.own_service` why no session
        )
        try:
            _await_ready(process, base + ready_path, ready_timeout_s)
            yield Server(base, process.pid)
        except ServerError as error:
            log.seek(0)
            tail = log.read().decode(errors="replace").strip().splitlines()[-20:]
            raise ServerError("\n".join([f"{Path(command[0]).name}: {error}", *tail])) from None
        finally:
            _stop(process)


def _await_ready(process: subprocess.Popen[bytes], url: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    last = "no answer"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(f"ended with code {process.returncode} before it was ready")
        try:
            answer = ask(url, timeout_s=5)
        except (OSError, http.client.HTTPException) as error:
            last = str(error)
        else:
            if answer.status == 200:
                return
            last = f"status {answer.status}"
        time.sleep(0.2)
    raise ServerError(f"{urlsplit(url).path} was not 200 within {timeout_s:g} s ({last})")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the server alone, so that it ends its helpers; then the rest of its group."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_DEADLINE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
