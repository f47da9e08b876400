"""Labels that are told apart, names of pages, and how much an address may send."""

import json

import pytest

from omnishot_ray.api.analytics import bounds
from omnishot_ray.api.analytics.bodies import EventItem
from omnishot_ray.api.analytics.bounds import OTHER, Labels, Quota, name_page
from omnishot_ray.api.analytics.config import AnalyticsConfig
from omnishot_ray.api.analytics.intake import Intake, device_of, is_bot
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.local import LocalMetrics
from omnishot_ray.metrics.query import Query


def test_labels_end_and_old_ones_make_room() -> None:
    labels = Labels("page", 2)
    assert [labels.admit(text, 0.0) for text in ("a", "b", "c", "", "a")] == [
        "a", "b", OTHER, "", "a",
    ]  # fmt: skip
    assert labels.admit("b", 50_000.0) == "b"
    assert labels.admit("c", 86_401.0) == "c"  # `a` was not seen for a day
    assert labels.admit("a", 86_402.0) == OTHER
    assert labels.describe() == {"known": 2, "limit": 2, "others": 2}


@pytest.mark.parametrize(
    "beyond",
    [
        {"max_pages": 255},
        {"max_segments": 255},
        {"max_types": 105},
        {"max_alerts": 52},
        {"max_data_bytes": 4097},
    ],
    ids=lambda given: next(iter(given)),
)
def test_no_more_is_allowed_than_the_tables_hold(beyond: dict[str, int]) -> None:
    ((name, value),) = beyond.items()
    AnalyticsConfig(**{name: value - 1})
    with pytest.raises(ValueError, match=name):
        AnalyticsConfig(**beyond)


def test_all_pages_that_are_allowed_are_told_apart() -> None:
    config = AnalyticsConfig(max_pages=254, max_data_bytes=4096)
    metrics = LocalMetrics(MetricsConfig(), lambda: 1000.0)
    intake = Intake(metrics, config)
    items = [
        EventItem(
            type="click", session_id="s", page=f"/p-{n}" if n else None, data={"a": "x" * 4088}
        )
        for n in range(300)
    ]
    intake.take(items, "", 1000.0)
    metrics.flush()
    found = metrics.hub.query(Query("events", 60.0, group_by=("page",), until_s=1001.0))
    assert set(found["page"].to_pylist()) == {"", "other", *(f"/p-{n}" for n in range(1, 255))}
    data = metrics.hub.samples("events", 60.0)["data"].to_pylist()
    assert {json.loads(text)["a"] for text in data} == {"x" * 4088}


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("/", "/"),
        ("", "/"),
        ("https://shop.test", "/"),
        ("https://shop.test/a/b?c=d#e", "/a/b"),
        ("/orders/4711/edit", "/orders/:id/edit"),
        ("/u/123e4567-e89b-12d3-a456-426614174000", "/u/:id"),
        ("/t/9f86d081884c7d659a2feaa0c55ad015", "/t/:id"),
        ("/reset/" + "x" * 60, "/reset/:id"),
        ("/caf\u00e9", "/caf\u00e9"),
        ("/a\x00b\n", "/a\ufffdb"),
        ("http://[bad/path?x", "http://[bad/path"),
    ],
)
def test_pages_are_named_without_what_tells_visitors_apart(address: str, page: str) -> None:
    assert name_page(address) == page


def test_names_of_pages_end() -> None:
    assert len(name_page("/a" * 5000)) == 200


def test_a_quota_fills_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(bounds, "monotonic", lambda: now[0])
    quota = Quota(60)
    assert quota.wait_s("a") == 0.0
    quota.take("a", 60)
    assert quota.wait_s("a") == pytest.approx(1.0)
    assert quota.wait_s("b") == 0.0
    now[0] += 1.0
    assert quota.wait_s("a") == 0.0
    quota.take("a", 10_000)  # no more than a minute is owed
    assert quota.wait_s("a") == pytest.approx(61.0)


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        ("", ""),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148", "phone"),
        ("Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/140 Mobile Safari/537.36", "phone"),
        ("Mozilla/5.0 (Linux; Android 15; Pixel Tablet) Chrome/140 Safari/537.36", "tablet"),
        ("Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X)", "tablet"),
        ("Mozilla/5.0 (X11; Linux x86_64) Chrome/140 Safari/537.36", "desktop"),
    ],
)
def test_devices(agent: str, device: str) -> None:
    assert device_of(agent) == device
    assert not is_bot(agent)


@pytest.mark.parametrize(
    "agent",
    [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "bingbot",
        "x crawler",
    ],
)
def test_bots_say_so(agent: str) -> None:
    assert is_bot(agent)


@pytest.mark.parametrize(
    ("given", "says"),
    [({"max_items": 0}, "max_items must be more"), ({"sample_share": 1.5}, "between 0 and 1")],
)
def test_wrong_configurations(given: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        AnalyticsConfig(**given)  # type: ignore[arg-type]
