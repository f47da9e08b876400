"""`omnishot serve`: a Ray of its own, the service on it, and a ready line."""

import gc
import os
import shlex
import signal
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from types import FrameType
from typing import Any

import click
import yaml

from omnishot_ray.errors import ConfigError
from omnishot_ray.serving.environment import prepare_environment
from omnishot_ray.settings import Settings, load_settings

_READY_DEADLINE_S = 90.0
_AFTER_LIMIT_S = 5.0
"""How much longer than a task may take the end of requests is waited for."""
_APP_NAME = "omnishot"
_SAMPLE = Path("tests/data/photo_tomatoes_2912x4368.jpg")


def serve_in_foreground(
    host: str, port: int, profile: str, config: Path | None, address: str | None
) -> int:
    """Serve until SIGINT or SIGTERM; a second one does not wait for requests that are being
    answered. Returns the exit code.
    """
    started = monotonic()
    try:
        settings = load_settings(_read_config(config), os.environ)
    except ConfigError as error:
        click.echo(f"omnishot: {error}", err=True)
        return 2
    if _is_taken(host, port):
        click.echo(
            f"omnishot: port {port} on {host} is taken; end what listens there or pass --port.",
            err=True,
        )
        return 3
    prepare_environment(profile)  # before anything imports Ray
    if not address:
        _move_taken_side_ports()
    with _terminal_logs(settings, own=not address) as settings:
        return _serve(host, port, settings, address, started)


def _serve(host: str, port: int, settings: Settings, address: str | None, started: float) -> int:
    node = _joined(address) if address else _own_node(settings)
    stop, hurry = threading.Event(), threading.Event()
    imports = threading.Thread(target=_import_app)
    imports.start()  # overlaps with the start of Ray's own processes
    with node:
        _stop_on_signals(stop, hurry)  # not before: Ray installs handlers of its own
        imports.join()
        try:
            _run(host, port, settings)
            if not _wait_until_ready(host, port, stop):
                if stop.is_set():
                    return 0
                click.echo("omnishot: not ready in time; see `omnishot doctor`.", err=True)
                return 1
            click.echo(_ready_text(host, port, settings, monotonic() - started))
            sys.stdout.flush()
            gc.freeze()
            gc.enable()
            stop.wait()
            return 0
        finally:
            if not address:  # requests are let in before all replicas are there
                _drain(settings.dispatch.time_limit_s + _AFTER_LIMIT_S, hurry)
            _stop_serving(own=not address)


@contextmanager
def _terminal_logs(settings: Settings, own: bool) -> Iterator[Settings]:
    """The settings with which what is logged appears here: the processes have no terminal.

    On a Ray cluster they may run on other machines, so Ray keeps their lines there.
    """
    from omnishot_ray.telemetry.collector import collect_lines
    from omnishot_ray.telemetry.logs import configure_logs

    logs = settings.logs
    if logs.format == "auto":
        logs = replace(logs, format="text" if own and sys.stderr.isatty() else "json")
    configure_logs(logs, "serve")
    if logs.file or not own:
        yield replace(settings, logs=logs)
        return
    with collect_lines(sys.stderr.fileno()) as file:
        yield replace(settings, logs=replace(logs, file=file))


def _own_node(settings: Settings) -> AbstractContextManager[None]:
    from omnishot_ray.serving.single_node import single_node

    return single_node(_ray_cpus(settings))


@contextmanager
def _joined(address: str) -> Iterator[None]:
    import ray

    ray.init(address=address, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def _run(host: str, port: int, settings: Settings) -> None:
    from ray import serve
    from ray.serve.config import HTTPOptions, ProxyLocation
    from ray.serve.schema import TracingConfig

    from omnishot_ray.app import assemble
    from omnishot_ray.serving.metrics_client import begin_hub

    options: dict[str, Any] = {
        "proxy_location": ProxyLocation.EveryNode,
        "http_options": HTTPOptions(host=host, port=port),
        "logging_config": {"enable_access_log": False},
    }
    if settings.traces.exporter:  # else Serve's own RAY_SERVE_TRACING_… hold
        options["tracing_config"] = TracingConfig(
            enabled=True,
            exporter_import_path=settings.traces.import_path,
            sampling_ratio=settings.traces.sample,
        )
    # `serve.start` waits for HAProxy. The application can be deployed as soon as the controller is
    # there, so that proxies and replicas start beside each other.
    proxies = threading.Thread(target=serve.start, kwargs=options)
    proxies.start()
    if settings.metrics.enabled:
        begin_hub(
            settings.metrics, settings.logs
        )  # beside the proxies and the replicas, which need it soon
    while proxies.is_alive() and not _controller_runs():
        sleep(0.05)
    serve.run(
        assemble(settings),
        name=_APP_NAME,
        route_prefix="/",
        logging_config={"enable_access_log": False},
    )
    proxies.join()


def _controller_runs() -> bool:
    from ray.util import list_named_actors

    return any(actor["namespace"] == "serve" for actor in list_named_actors(all_namespaces=True))


def _import_app() -> None:
    from omnishot_ray.frugal import hidden

    with hidden("pandas"):
        import omnishot_ray.app  # noqa: F401


def _ray_cpus(settings: Settings) -> int:
    """At least what the deployments reserve, also where the machine has fewer cores.

    Ray starts one worker process ahead for each, so there is one for each gateway too.
    """
    gateways, resizers = settings.gateways, settings.resizers
    return (
        round(gateways.replicas * max(1.0, gateways.num_cpus))
        + max(1, round(resizers.max_replicas * resizers.num_cpus))
        + int(settings.jobs.enabled and not settings.jobs.idle_s)
    )


def _read_config(path: Path | None) -> Mapping[str, Any]:
    """Settings of a YAML file: plain, or a Serve config with them as its application's args."""
    if path is None:
        return {}
    document = yaml.safe_load(path.read_text()) or {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path.name} has to hold names and values")
    if "applications" in document:
        args: Mapping[str, Any] = document["applications"][0].get("args", {})
        return args
    return document


def _is_taken(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


_SIDE_PORTS = {
    "RAY_SERVE_HAPROXY_METRICS_PORT": 9101,
    "RAY_SERVE_HAPROXY_STATS_PORT": 8404,
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": 8500,
}
"""Ports that Serve and its HAProxy listen on beside the service's own, and their defaults."""


def _move_taken_side_ports() -> None:
    """So that a second service on this machine, the tests' for one, gets in nobody's way."""
    for name, default in _SIDE_PORTS.items():
        if name not in os.environ and _is_taken("", default):
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.bind(("", 0))
                os.environ[name] = str(probe.getsockname()[1])


def _stop_on_signals(stop: threading.Event, hurry: threading.Event) -> None:
    def request_stop(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, request_stop)


def _wait_until_ready(host: str, port: int, stop: threading.Event) -> bool:
    deadline = monotonic() + _READY_DEADLINE_S
    while monotonic() < deadline and not stop.is_set():
        try:
            with urllib.request.urlopen(f"http://{host}:{port}/ready", timeout=5) as answer:
                if answer.status == 200:
                    return True
        except (urllib.error.URLError, OSError):
            sleep(0.05)
    return False


def _ready_text(host: str, port: int, settings: Settings, seconds: float) -> str:
    url = f"http://{host}:{port}"
    sample = shlex.quote(str(_SAMPLE if _SAMPLE.exists() else "photo.jpg"))
    scale = settings.resizers
    return (
        f"OmniShot Ray is ready at {url} after {seconds:.1f} s: "
        f"{settings.gateways.replicas} gateways, {scale.min_replicas} to {scale.max_replicas} "
        "resizers.\nTry:\n"
        f"  curl --data-binary @{sample} -o instagram-post.jpg "
        f"'{url}/api/optimize?platform=instagram-post'\n"
        f"Documentation: {url}/docs    Stop: Ctrl-C"
    )


def _drain(limit_s: float, hurry: threading.Event) -> None:
    """Have HAProxy take nothing in any more and finish what it has: its soft stop.

    Serve ends HAProxy first and the replicas after it, and all that they are at is cut off. While
    replicas come or go Serve starts another HAProxy that takes over from the one before, and one
    that is starting may miss the signal. So each is told again until none is left, which two looks
    in a row have to find: between them what was forked has got its name.
    """
    import psutil

    until = monotonic() + limit_s
    gone = 0
    while monotonic() < until:
        left = False
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if process.name() == "haproxy" and process.status() != psutil.STATUS_ZOMBIE:
                    left = True
                    process.send_signal(signal.SIGUSR1)
        gone = 0 if left else gone + 1
        if gone == _DRAIN_LOOKS or hurry.wait(_DRAIN_LOOK_S):
            return


_DRAIN_LOOK_S = 0.1
_DRAIN_LOOKS = 2


def _stop_serving(own: bool) -> None:
    from ray import serve

    from omnishot_ray.serving.metrics_client import end_hub

    if own:
        serve.shutdown()
    else:
        serve.delete(_APP_NAME)
    end_hub()
