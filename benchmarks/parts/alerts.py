"""`metrics.alerts.*`: by clocks that are given, over real tables."""

import base64
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import Any

import orjson

from benchmarks.metrics import NOW
from benchmarks.parts.case import Case, Figures, pace_of
from benchmarks.parts.metrics import hub_of
from omnishot_ray.metrics.alerts import BROWSER_PREFIX, DEFAULT_RULES, AlertConfig
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.hub import Hub
from omnishot_ray.metrics.samples import EventSample, GaugeSample, Sample
from omnishot_ray.metrics.streams import columns
from omnishot_ray.metrics.telling import AlertWebhook
from omnishot_ray.metrics.watch import AlertWatch

_QUEUE = "queue warning max gauges.waiting > 20 over 30s for 10s clear 15"
_AT_ONCE = "queue warning max gauges.waiting > 20 over 2s clear 15"
_MANY = tuple(
    f"many-{number} info p95 requests.total_ms > 1000 over {number + 1}m" for number in range(32)
)
_SHORT, _LONG = (f"whsec_{base64.b64encode(b'k' * size).decode()}" for size in (24, 64))
_ADDRESS = "http://127.0.0.1:80/"


class _Watched:
    """A hub with alerts, by a clock that is given."""

    def __init__(self, **config: Any) -> None:
        self.now = NOW
        alerts = AlertConfig(**config)
        self.hub = Hub(MetricsConfig(alerts=alerts), lambda: self.now)

    def take(self, sample: Sample) -> None:
        self.hub.take(sample.table, columns(sample.table, [sample], "gateway-1"))

    def wait(self, state: str, limit_s: float, waiting: int | None = None) -> float:
        """Seconds until the alerts are so, looked at every second as the hub does."""
        began = self.now
        while self.now < began + limit_s:
            if waiting is not None:
                self.take(GaugeSample(at_s=self.now, waiting=waiting))
            self.hub.tick()
            if any(alert["state"] == state for alert in self.hub.alerts()):
                return self.now - began
            self.now += 1.0
        raise AssertionError(f"not {state} within {limit_s} s")


def _looked_at(rules: tuple[str, ...]) -> Figures:
    hub = hub_of(900.0, 20, 10.0, MetricsConfig())
    return {"core-ms a look": _look_ms(hub, rules)}


def _look_ms(hub: Hub, rules: tuple[str, ...]) -> float:
    """Each look at a time of its own, for what is looked at is looked at again only later."""
    watch = AlertWatch(AlertConfig(rules=rules, every_s=1e-9))
    steps = iter(range(10**6))
    return pace_of(lambda: watch.evaluate(hub.store, NOW + next(steps) * 1e-3), 5).core_us / 1e3


def _seen_after(seconds: float) -> Figures:
    hub = hub_of(900.0, 20, 10.0, MetricsConfig())
    waited = _Watched(rules=(_QUEUE,), every_s=seconds).wait("active", 600.0, waiting=50)
    share = _look_ms(hub, DEFAULT_RULES) / seconds / 10.0
    return {"s until told of a queue": waited, "% of a core for the default rules": share}


def _silent(seconds: float) -> Figures:
    watched = _Watched(rules=(_QUEUE,), silent_s=seconds)
    watched.wait("active", 600.0, waiting=50)
    return {"s until it ends without data": watched.wait("resolved", 2 * seconds + 60.0)}


def _posted(seconds: float) -> Figures:
    watched = _Watched(rules=(), browser_s=seconds)
    kind = f"{BROWSER_PREFIX}warning:broken"
    watched.take(EventSample(at_s=watched.now, type=kind, page="/", session_id="s"))
    watched.now += 1.0
    watched.wait("active", 60.0)
    return {"s until it ends": watched.wait("resolved", 2 * seconds + 60.0)}


def _remembered(most: int) -> Figures:
    watched = _Watched(rules=(_AT_ONCE,), every_s=1.0, history=most)
    for _ in range(most + most // 10):
        for waiting in (50, 0):
            watched.take(GaugeSample(at_s=watched.now, waiting=waiting))
            watched.now += 1.0
            watched.hub.tick()
            watched.now += 9.0
    listed = watched.hub.alerts()
    return {
        "alerts listed": len(listed),
        "kB of `GET /api/alerts`": len(orjson.dumps(listed)) / 1e3,
        "core-ms": pace_of(lambda: orjson.dumps(watched.hub.alerts()), 5).core_us / 1e3,
    }


@contextmanager
def _receiver() -> Iterator[str]:
    class Receiver(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _told(url: str, secret: str = _SHORT, alerts: int = 100) -> Figures:
    if not url:
        return {"alerts told": 0}
    begun = _begun()
    with _receiver() as at:
        webhook = AlertWebhook(AlertConfig(webhook_url=at, webhook_secret=secret))
        waits = []
        for number in range(alerts):
            alert = replace(begun, id=f"{number:016x}")
            began = perf_counter()
            webhook.tell(alert)
            waits.append(perf_counter() - began)
            webhook.flush()
            waits.append(perf_counter() - began)
    return {
        "alerts told": webhook.delivered,
        "µs that the hub waits": sorted(waits[::2])[alerts // 2] * 1e6,
        "ms until it is told": sorted(waits[1::2])[alerts // 2] * 1e3,
    }


def _begun() -> Any:
    watched = _Watched(rules=(_AT_ONCE,), every_s=1.0)
    told: list[Any] = []
    watched.take(GaugeSample(at_s=watched.now, waiting=50))
    book = watched.hub._alerting._book  # type: ignore[attr-defined]
    told += book.evaluate(watched.hub.store.query, watched.now + 1.0)
    return told[0]


CASES = (
    Case("metrics.alerts.rules", (DEFAULT_RULES, (), _MANY), "looked at, of 20 requests/s",
         _looked_at),
    Case("metrics.alerts.every_s", (5.0, 1.0, 60.0), "a rule `over 30s for 10s`", _seen_after),
    Case("metrics.alerts.silent_s", (900.0, 60.0, 3600.0), "an alert whose data end", _silent),
    Case("metrics.alerts.browser_s", (300.0, 60.0, 1800.0), "a front end's alert, posted once",
         _posted),
    Case("metrics.alerts.history", (200, 20, 500), "more alerts than are kept", _remembered),
    Case("metrics.alerts.webhook_url", ("", _ADDRESS), "100 alerts", _told,
         beside={"metrics.alerts.webhook_secret": _SHORT}),
    Case("metrics.alerts.webhook_secret", ("", _SHORT, _LONG), "100 alerts",
         lambda secret: _told(_ADDRESS if secret else "", secret)),
)  # fmt: skip
