"""How long `omnishot serve` takes until it answers, beside the plain way to start Ray Serve.

    python -m benchmarks.startup [--rounds 5] [--plain] [--processes] > FILE.md

From the start of the process to the first 200 of `/ready`, every time a new Ray. The plain way is
import, `ray.init`, `serve.start`, `serve.run`, one after the other, with Ray's defaults. The first
start after an installation compiles bytecode and is not counted.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from benchmarks import machine

BIN = Path(sys.executable).parent

PLAIN = """
import sys, threading
import ray
from ray import serve
from omnishot_ray.app import build_app
ray.init(log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
serve.run(build_app({}), route_prefix="/")
threading.Event().wait()
"""
PLAIN_ENVIRONMENT = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_AUTH_MODE": "disabled"}


@dataclass(frozen=True)
class Start:
    """One start: wall seconds until ready, and core-seconds by process at that moment."""

    seconds: float
    core_s: dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plain", action="store_true", help="the plain way too, in turn")
    parser.add_argument("--processes", action="store_true", help="core-seconds of each process")
    arguments = parser.parse_args()
    ways = {"omnishot serve": ([str(BIN / "omnishot"), "serve", "--port"], {})}
    if arguments.plain:
        ways["plain"] = ([sys.executable, "-c", PLAIN], PLAIN_ENVIRONMENT)
    taken: dict[str, list[Start]] = {name: [] for name in ways}
    for number in range(arguments.rounds + 1):
        for name, (command, environment) in ways.items():
            start = measure(command, environment)
            if number:
                taken[name].append(start)
    print(machine.page_head("Start-up: seconds from the command to the first 200 of /ready"))
    print("| way | median s | fastest | slowest | core-seconds |\n|---|---:|---:|---:|---:|")
    for name, starts in taken.items():
        seconds = sorted(start.seconds for start in starts)
        core_s = median(sum(start.core_s.values()) for start in starts)
        print(
            f"| {name} | {median(seconds):.2f} | {seconds[0]:.2f} | {seconds[-1]:.2f} "
            f"| {core_s:.1f} |"
        )
    if arguments.processes:
        print("\nThe last start, core-seconds by process:\n")
        last = taken["omnishot serve"][-1].core_s
        for title, core_s in sorted(last.items(), key=lambda row: -row[1]):
            print(f"- {core_s:.2f} {title}")
    return 0


def measure(command: Sequence[str], environment: dict[str, str]) -> Start:
    """Start it on a free port, wait until it is ready, end it and all that it started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.monotonic()
    process = subprocess.Popen(
        [*command, str(port)],
        cwd=machine.ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not _is_ready(port):
            if process.poll() is not None or time.monotonic() - started > 120:
                raise SystemExit(f"{command[0]} did not become ready")
            time.sleep(0.05)
        seconds = time.monotonic() - started
        return Start(seconds, _core_seconds(process.pid))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        for left in _session(process.pid):
            left.kill()
        psutil.wait_procs(_session(process.pid), timeout=10)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _session(leader: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader:
                found.append(process)
        except OSError:
            continue
    return found


def _core_seconds(leader: int) -> dict[str, float]:
    used: dict[str, float] = {}
    for process in _session(leader):
        try:
            times, line = process.cpu_times(), process.cmdline()
        except psutil.Error:
            continue
        title = " ".join(Path(word).name for word in line[:2])
        used[f"{title} ({process.pid})"] = (
            times.user + times.system + times.children_user + times.children_system
        )
    return used


if __name__ == "__main__":
    sys.exit(main())
