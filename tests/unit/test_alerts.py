"""When an alert begins, when it is over, and who is told."""

import base64
import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnishot_ray.errors import EngineUnavailable
from omnishot_ray.metrics.alerts import Alert, AlertBook, AlertConfig, State, advance
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.hub import Hub
from omnishot_ray.metrics.query import Query
from omnishot_ray.metrics.rules import parse_rule
from omnishot_ray.metrics.samples import GaugeSample
from omnishot_ray.metrics.streams import columns
from omnishot_ray.metrics.telling import AlertWebhook, log_alert

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
RULE = parse_rule("queue warning max gauges.waiting > 20 over 30s for 10s clear 15")
SILENT_S = 60.0


def play(*values: float | None, step_s: float = 5.0) -> list[str]:
    """What is told of values that come every `step_s`: `5 begins`, `20 clear`."""
    state, told = State(), []
    for place, value in enumerate(values):
        now = place * step_s
        state, alert = advance(state, RULE, value, now, SILENT_S)
        if alert:
            told.append(f"{now:g} {alert.reason or 'begins'}")
    return told


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((0, 20, 19), []),
        ((21, 21), []),
        ((21, 21, 21), ["10 begins"]),
        ((21, 0, 21, 21, 21), ["20 begins"]),
        ((21, 21, 21, 30, 21), ["10 begins"]),
        ((21, 21, 21, 18, 16, 22), ["10 begins"]),
        ((21, 21, 21, 15), ["10 begins", "15 clear"]),
        ((21, 21, 21, 15, 21, 21, 21), ["10 begins", "15 clear", "30 begins"]),
        ((21, None, 21, 21), []),
        ((21, 21, 21, None, None, 22), ["10 begins"]),
        ((21, 21, 21, *[None] * 12), ["10 begins", "70 no data"]),
        ((None, None), []),
    ],
)
def test_transitions(values: tuple[float | None, ...], told: list[str]) -> None:
    assert play(*values) == told


STEPS = st.lists(st.tuples(st.one_of(st.none(), st.floats(0, 40)), st.floats(0.1, 30)), max_size=60)


@given(steps=STEPS, above=st.booleans())
def test_beginnings_and_ends_take_turns(
    steps: list[tuple[float | None, float]], above: bool
) -> None:
    sign_, clear = (">", 15) if above else ("<", 25)
    rule = parse_rule(f"x warning max gauges.waiting {sign_} 20 for 10s clear {clear}")
    state, now, breached_since = State(), 0.0, None
    open_alert: Alert | None = None
    for value, pause in steps:
        now += pause
        if value is None or not rule.is_breached(value):
            breached_since = None
        elif breached_since is None:
            breached_since = now
        state, alert = advance(state, rule, value, now, SILENT_S)
        if alert is None:
            assert (state.alert is None) == (open_alert is None)
            continue
        if open_alert is None:
            assert alert.resolved_s is None
            assert value is not None
            assert rule.is_breached(value)
            assert breached_since is not None
            assert now - breached_since >= rule.for_s
            open_alert = alert
        else:
            assert alert.id == open_alert.id
            assert alert.resolved_s == now
            assert value is None or rule.is_clear(value)
            assert alert.worst >= alert.threshold if above else alert.worst <= alert.threshold
            open_alert = None


class Gauges:
    """Answers queries: `{table: value or {type: count}}`; an exception is raised."""

    def __init__(self) -> None:
        self.waiting: float | Exception = 0.0
        self.events: Mapping[str, int] = {}

    def __call__(self, query: Query) -> pa.Table:
        if query.table == "events":
            return pa.table(
                {"type": list(self.events), "count": pa.array(self.events.values(), pa.int64())}
            )
        if isinstance(self.waiting, Exception):
            raise self.waiting
        return pa.table({"max_waiting": [self.waiting], "count": [7]})


@pytest.fixture
def book() -> AlertBook:
    return AlertBook(
        AlertConfig(
            rules=(
                "queue warning max gauges.waiting > 20 clear 15",
                "queue-long critical max gauges.waiting > 100 clear 80",
            ),
            history=2,
        )
    )


def test_the_book_lists_the_worst_first_and_then_what_is_over(book: AlertBook) -> None:
    gauges = Gauges()
    gauges.waiting = 150
    assert [alert.name for alert in book.evaluate(gauges, 0)] == ["queue", "queue-long"]
    assert book.evaluate(gauges, 5) == []
    assert [one["name"] for one in book.listed()] == ["queue-long", "queue"]
    gauges.waiting = 50
    book.evaluate(gauges, 10)
    assert [(one["name"], one["state"]) for one in book.listed()] == [
        ("queue", "active"),
        ("queue-long", "resolved"),
    ]
    assert book.listed()[1] | {"id": ""} == {
        "id": "",
        "name": "queue-long",
        "severity": "critical",
        "state": "resolved",
        "metric": "max gauges.waiting",
        "threshold": 100.0,
        "value": 50.0,
        "worst": 150.0,
        "began_at": 0,
        "active_at": 0,
        "resolved_at": 10,
        "reason": "clear",
        "source": "service",
    }


def test_the_history_ends(book: AlertBook) -> None:
    gauges = Gauges()
    for now in range(0, 100, 10):
        gauges.waiting = 50
        book.evaluate(gauges, now)
        gauges.waiting = 0
        book.evaluate(gauges, now + 5)
    assert [one["began_at"] for one in book.listed()] == [90, 80]


def test_a_question_that_fails_says_nothing(
    book: AlertBook, caplog: pytest.LogCaptureFixture
) -> None:
    gauges = Gauges()
    gauges.waiting = 50
    book.evaluate(gauges, 0)
    gauges.waiting = EngineUnavailable("the hub does not answer")
    assert book.evaluate(gauges, 5) == []
    assert [one["name"] for one in book.listed()] == ["queue"]
    assert "cannot be measured" in caplog.text


def test_too_few_rows_are_no_reason() -> None:
    rule = parse_rule("x warning max gauges.waiting > 20 least 8")
    gauges = Gauges()
    gauges.waiting = 50
    assert rule.measure(gauges, 0.0) is None


def test_a_share_is_of_what_is_meant() -> None:
    rule = parse_rule("x warning share requests cache=joined of cache=joined|miss < 0.6 least 4")

    def ask(query: Query) -> pa.Table:
        assert query.until_s == 9.0
        return pa.table({"count": [1 if query.where["cache"] == ("joined",) else 4]})

    assert rule.measure(ask, 9.0) == 0.25


def test_what_front_ends_post_is_an_alert_while_it_is_posted(book: AlertBook) -> None:
    gauges = Gauges()
    gauges.events = {"click": 9, "alert:critical:upload-fails": 3, "alert:odd:x": 1}
    (begun,) = book.evaluate(gauges, 0)
    assert (begun.name, begun.severity, begun.value) == ("alert:upload-fails", "critical", 3)
    gauges.events = {"alert:critical:upload-fails": 5}
    assert book.evaluate(gauges, 5) == []
    assert book.listed()[0]["worst"] == 5
    assert book.listed()[0]["source"] == "browser"
    gauges.events = {}
    (over,) = book.evaluate(gauges, 400)
    assert (over.id, over.resolved_s, over.reason) == (begun.id, 400, "quiet")


def test_the_log_says_when_it_begins_and_ends(
    book: AlertBook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    gauges = Gauges()
    gauges.waiting = 150
    for alert in book.evaluate(gauges, 0):
        log_alert(alert)
    gauges.waiting = 0
    for alert in book.evaluate(gauges, 30):
        log_alert(alert)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "alert queue (warning): max gauges.waiting is 150, threshold 20"),
        ("ERROR", "alert queue-long (critical): max gauges.waiting is 150, threshold 100"),
        ("INFO", "alert queue is over (clear) after 30 s"),
        ("INFO", "alert queue-long is over (clear) after 30 s"),
    ]


class Receiver:
    """A web server that answers with the statuses it was given, then with 200."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[tuple[Mapping[str, str], bytes]] = []

    def __enter__(self) -> str:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name is the library's
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}/hook"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def begun(name: str = "queue") -> Alert:
    return Alert("0123", name, "warning", "max gauges.waiting", 20.0, 50.0, 50.0, 0.0, 10.0)


def webhook(url: str, pauses_s: tuple[float, ...] = (0.01, 0.01)) -> AlertWebhook:
    return AlertWebhook(AlertConfig(webhook_url=url, webhook_secret=SECRET), pauses_s)


@pytest.mark.timeout(60)
def test_the_webhook_is_signed_and_tried_again_under_the_same_id() -> None:
    receiver = Receiver(500, 429)
    with receiver as url:
        told = webhook(url)
        told.tell(begun())
        told.flush()
    assert (told.delivered, told.dropped) == (1, 0)
    assert len(receiver.got) == 3
    assert {headers["webhook-id"] for headers, _ in receiver.got} == {"msg_0123_active"}
    headers, body = receiver.got[-1]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(b"k" * 32, signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    document = json.loads(body)
    assert (document["type"], document["timestamp"]) == (
        "alert.active",
        "1970-01-01T00:00:10+00:00",
    )
    assert document["data"]["name"] == "queue"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("statuses", "attempts"), [((410,), 1), ((500, 500, 500), 3), ((307, 302, 301), 3)]
)
def test_it_gives_up(statuses: tuple[int, ...], attempts: int) -> None:
    receiver = Receiver(*statuses)
    with receiver as url:
        told = webhook(url)
        told.tell(begun())
        told.flush()
        assert (told.delivered, told.dropped, len(receiver.got)) == (0, 1, attempts)
        told.tell(begun("next"))
        told.flush()
    assert told.delivered == 1


@pytest.mark.timeout(60)
def test_a_receiver_that_is_not_there_keeps_nobody_waiting() -> None:
    told = webhook("http://127.0.0.1:9/", (3600.0,))
    for _ in range(300):
        told.tell(begun())
    # One may have been taken out of the line to be told.
    assert told.dropped in (300 - 256, 300 - 257)


@pytest.mark.timeout(60)
def test_the_hub_watches_its_own_tables(caplog: pytest.LogCaptureFixture) -> None:
    now = [1_800_000_000.0]
    receiver = Receiver()
    with receiver as url:
        config = AlertConfig(
            rules=("queue warning max gauges.waiting > 20 over 10s for 4s clear 15",),
            every_s=2.0,
            webhook_url=url,
            webhook_secret=SECRET,
        )
        hub = Hub(MetricsConfig(alerts=config), lambda: now[0])
        history = []
        for second in range(40):
            now[0] += 1.0
            waiting = 50 if second < 15 else 1
            hub.take(
                "gauges",
                columns("gauges", [GaugeSample(at_s=now[0] - 0.5, waiting=waiting)], "gateway-1"),
            )
            hub.tick()
            history.append([alert["state"] for alert in hub.alerts()])
        deadline = monotonic() + 30
        while len(receiver.got) < 2 and monotonic() < deadline:
            threading.Event().wait(0.01)
    assert history[0] == []
    assert ["active"] in history
    assert history[-1] == ["resolved"]
    assert [json.loads(body)["type"] for _, body in receiver.got] == [
        "alert.active",
        "alert.resolved",
    ]
    assert caplog.text.count("alert queue (warning)") == 1
