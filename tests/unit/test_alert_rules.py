"""Rules as text: what they mean, and what is said of those that cannot be read."""

import pytest

from omnishot_ray.metrics.alerts import DEFAULT_RULES, AlertConfig
from omnishot_ray.metrics.query import Aggregate
from omnishot_ray.metrics.rules import parse_rule


def test_a_rule_says_everything() -> None:
    rule = parse_rule(
        "slow critical p95 requests.total_ms route=/api/optimize|/api/info > 5e3 "
        "over 10m for 90s clear 4000 least 50"
    )
    assert rule.aggregate == Aggregate("p95", "total_ms")
    assert rule.where == {"route": ("/api/optimize", "/api/info")}
    assert (rule.threshold, rule.clear, rule.window_s, rule.for_s) == (5000, 4000, 600, 90)
    assert (rule.above, rule.least, rule.severity) == (True, 50, "critical")
    assert rule.metric == "p95 requests.total_ms route=/api/optimize|/api/info"


def test_a_class_of_statuses_is_all_of_them() -> None:
    rule = parse_rule("errors warning share requests status=404|5xx > 0.05")
    assert rule.where["status"] == (404, *range(500, 600))


@pytest.mark.parametrize(("sign", "clear"), [(">", 90.0), ("<", 110.0)])
def test_by_default_it_clears_a_tenth_on_the_good_side(sign: str, clear: float) -> None:
    assert parse_rule(f"x info max gauges.waiting {sign} 100").clear == pytest.approx(clear)


def test_the_defaults_are_those_of_the_documentation() -> None:
    found = {rule.name: rule.threshold for rule in map(parse_rule, DEFAULT_RULES)}
    assert found == {
        "memory": 0.8,
        "response-over-1s": 1000,
        "response-slow": 3000,
        "response-very-slow": 5000,
        "errors": 0.05,
        "queue": 20,
        "queue-long": 100,
        "cache-hits": 0.6,
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it has to begin"),
        ("Slow warning p95 requests.total_ms > 1", "small letters"),
        ("slow loud p95 requests.total_ms > 1", "info, warning, critical"),
        ("slow warning p95 wishes.total_ms > 1", "the table is one of requests"),
        ("slow warning p95 requests.wishes > 1", "the column of requests is one of"),
        ("slow warning p95 requests.route > 1", "the column of requests is one of"),
        ("slow warning p42 requests.total_ms > 1", "the function is share or one of"),
        ("slow warning count requests.total_ms > 1", "name the table alone"),
        ("slow warning share requests > 0.1", "a share is of a table"),
        ("slow warning max gauges.waiting of waiting=1 > 0.1", "only a share"),
        ("slow warning p95 requests.total_ms", "after what is measured"),
        ("slow warning p95 requests.total_ms > many", "'many' is not a number"),
        ("slow warning p95 requests.total_ms > nan", "'nan' is not a number"),
        ("slow warning p95 requests.total_ms > 1 over", "pairs of words"),
        ("slow warning p95 requests.total_ms > 1 over 2w", "'2w' is not a time"),
        ("slow warning p95 requests.total_ms > 1 over 0s", "more than nothing"),
        ("slow warning p95 requests.total_ms > 1 over 1m over 2m", "each once"),
        ("slow warning p95 requests.total_ms > 1 under 2m", "over, for, clear and least"),
        ("slow warning p95 requests.total_ms > 1 clear 2", "good side"),
        ("slow warning count requests status=many > 1", "not a whole number"),
        ("slow warning count requests wish=1 > 1", "requests has no column wish"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"the alert rule .* cannot be read") as caught:
        parse_rule(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rules": (DEFAULT_RULES[0], DEFAULT_RULES[0])}, "a name of its own"),
        ({"rules": ("x",)}, "cannot be read"),
        ({"every_s": 0.0}, "every_s must be more than 0"),
        ({"webhook_url": "ftp://example.org"}, "http:// or https://"),
        ({"webhook_url": "https://example.org"}, "webhook_secret has to be set"),
        ({"webhook_secret": "s3cret"}, "whsec_ and 24 to 64 bytes"),
    ],
)
def test_wrong_configurations(given: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        AlertConfig(**given)  # type: ignore[arg-type]


def test_the_secret_is_not_shown() -> None:
    secret = "whsec_" + 4 * "c2VjcmV0"
    config = AlertConfig(webhook_url="https://example.org", webhook_secret=secret)
    assert "c2VjcmV0" not in repr(config)
