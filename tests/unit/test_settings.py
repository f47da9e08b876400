"""Settings of values and environment, with every mistake told before anything starts."""

from collections.abc import Mapping
from typing import Any

import pytest

from omnishot_ray.errors import ConfigError
from omnishot_ray.settings import PREFIX, Settings, known_names, load_settings

KNOWN = known_names()
SECRET = "whsec_" + 8 * "0123"
OTHERS: dict[str, Any] = {
    "resizers.autoscale.cpu_limit": 0.9,
    "resizers.autoscale.cpu_goal": 0.5,
    "resizers.niceness": 7,
    "dispatch.overload.above": 0.7,
    "dispatch.overload.below": 0.2,
    "dispatch.overload.effort": 2,
    "cache.redis_url": "redis://127.0.0.1:6379/1",
    "cache.storage_uri": "file:///tmp/renditions",
    "metrics.uri": "file:///tmp/metrics",
    "metrics.alerts.rules": ("queue warning max gauges.waiting > 7 for 1m", "x info rate jobs > 1"),
    "metrics.alerts.webhook_url": "https://example.org/alerts",
    "metrics.alerts.webhook_secret": SECRET,
    "analytics.sample_share": 0.5,
    "analytics.max_pages": 20,
    "analytics.max_types": 20,
    "analytics.max_alerts": 20,
    "analytics.max_data_bytes": 512,
    "analytics.prices.currency": "EUR",
    "cache.node_dir": "/tmp/omnishot",
    "fetch.ports": (443, 8443),
    "fetch.allow": ("images.internal", "10.1.0.0/16:8080"),
    "fetch.deny": ("192.0.2.0/24",),
    "fetch.ca_file": "/etc/ssl/our-own.pem",
    "storage.source_roots": ("file:///srv/photos", "s3://photos/incoming?region=eu-west-1"),
    "storage.output_roots": ("gs://renditions",),
    "webhooks.secrets": ("whsec_" + "A" * 32, "whsec_" + "B" * 84),
    "jobs.dir": "/tmp/jobs",
    "jobs.redis_url": "redis://127.0.0.1:6379/2",
    "jobs.blobs_uri": "file:///tmp/blobs",
    "jobs.share": 0.25,
    "api.keys": ("shop:0123456789", "abcdef"),
    "api.rate_limit": "600/minute",
    "api.redis_url": "redis://:secret@127.0.0.1:6379/1",
    "api.trusted_proxies": ("10.0.0.0/8", "2001:db8::1"),
    "api.cors_origins": ("https://example.org", "http://localhost:3000"),
    "logs.level": "debug",
    "logs.format": "json",
    "logs.file": "/var/log/omnishot.log",
    "logs.sample": 0.5,
    "traces.exporter": "otlp",
    "traces.sample": 0.5,
}
"""Where twice the default and one would not be legal."""
ANY_TEXT = {"api.cache_control", "api.keys", "jobs.dir", "fetch.allow", "fetch.ca_file"}
SECRETS = {"api.keys", "webhooks.secrets"}
by_name = pytest.mark.parametrize("name", KNOWN)


def value_at(settings: Settings, name: str) -> Any:
    value: Any = settings
    for step in name.split("."):
        value = getattr(value, step)
    return value


def variable(name: str) -> str:
    return PREFIX + name.upper().replace(".", "__")


def another(name: str) -> Any:
    """A legal value that is not the default."""
    if name in OTHERS:
        return OTHERS[name]
    default = value_at(Settings(), name)
    if isinstance(default, bool):
        return not default
    return f"not {default}" if isinstance(default, str) else default * 2 + 1


def written(value: Any) -> str:
    """A value as the environment has it."""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def room_for(name: str) -> dict[str, Any]:
    """What has to be set beside a setting for `another` value to be legal."""
    rooms: dict[str, dict[str, Any]] = {
        "resizers.min_replicas": {"resizers": {"max_replicas": 999}},
        "metrics.alerts.webhook_url": {"metrics": {"alerts": {"webhook_secret": SECRET}}},
    }
    return rooms.get(name, {})


def together(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    joined = dict(one)
    for name, value in other.items():
        joined[name] = together(joined[name], value) if name in joined else value
    return joined


def nested(name: str, value: Any) -> dict[str, Any]:
    for step in reversed(name.split(".")):
        value = {step: value}
    assert isinstance(value, dict)
    return value


def test_nothing_given_gives_the_defaults() -> None:
    assert load_settings({}, {}) == Settings()


def test_foreign_variables_are_left_alone() -> None:
    assert (
        load_settings({}, {"PATH": "/bin", "RAY_ADDRESS": "auto", "omnishot_x": "1"}) == Settings()
    )


def test_there_are_settings_of_every_part() -> None:
    assert {name.split(".")[0] for name in KNOWN} == {
        "limits",
        "api",
        "cache",
        "metrics",
        "analytics",
        "dispatch",
        "fetch",
        "storage",
        "webhooks",
        "gateways",
        "resizers",
        "jobs",
        "logs",
        "traces",
    }
    assert "dispatch.queue.batch_max" in KNOWN


@by_name
def test_every_setting_can_be_set_by_the_environment(name: str) -> None:
    value = another(name)
    settings = load_settings(room_for(name), {variable(name): written(value)})
    assert value_at(settings, name) == value
    assert type(value_at(settings, name)) is type(value_at(Settings(), name))


@pytest.mark.parametrize("name", [name for name in KNOWN if name not in SECRETS])
def test_every_setting_can_be_set_by_nested_values(name: str) -> None:
    values = together(nested(name, another(name)), room_for(name))
    assert value_at(load_settings(values, {}), name) == another(name)


def test_lists_may_be_lists_or_text() -> None:
    for origins in (["https://a.org", "https://b.org"], "https://a.org,https://b.org"):
        api = load_settings({"api": {"cors_origins": origins}}, {}).api
        assert api.cors_origins == ("https://a.org", "https://b.org")


def test_short_names_of_the_environment() -> None:
    environment = {"OMNISHOT_API_KEYS": "shop:s3cret,other", "OMNISHOT_REDIS_URL": "redis://r/0"}
    api = load_settings({}, environment).api
    assert api.keys == ("shop:s3cret", "other")
    assert api.redis_url == "redis://r/0"


def test_secrets_are_not_shown() -> None:
    environment = {
        "OMNISHOT_API_KEYS": "shop:s3cret,0ther",
        "OMNISHOT_REDIS_URL": "redis://:pa55@r/0",
    }
    shown = repr(load_settings({}, environment))
    assert not any(secret in shown for secret in ("s3cret", "0ther", "pa55"))


@pytest.mark.parametrize("keys", ["s3cret and more", "s3cret,a b:s3cret", "sh\u00f6p:s3cret", "s:"])
def test_a_key_that_cannot_be_one_is_told_without_saying_it(keys: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({}, {"OMNISHOT_API_KEYS": keys})
    assert "keys: number" in caught.value.detail
    assert "s3cret" not in caught.value.detail


def test_keys_in_a_file_are_refused() -> None:
    with pytest.raises(ConfigError, match="OMNISHOT_API_KEYS") as caught:
        load_settings({"api": {"keys": ["s3cret"]}}, {})
    assert "s3cret" not in caught.value.detail
    with pytest.raises(ConfigError, match="OMNISHOT_WEBHOOKS__SECRETS"):
        load_settings({"webhooks": {"secrets": ["whsec_" + "A" * 32]}}, {})


@pytest.mark.parametrize(
    "root",
    [
        "relative/path",
        "/path",
        "file://host/path",
        "file:///a/../b",
        "http://example.org/",
        "s3://",
        "s3:///path",
        "s3://key:s3cret@bucket/a#b",
        "s3://key:s3cret@bucket/?regiom=eu",
        "gs://bucket?region=eu",
    ],
)
def test_a_root_that_cannot_be_one_is_told_without_its_keys(root: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({}, {"OMNISHOT_STORAGE__SOURCE_ROOTS": root})
    assert "source_roots: " in caught.value.detail
    assert "s3cret" not in caught.value.detail


@pytest.mark.parametrize(
    "secret", ["s3cret", "whsec_", "whsec_AAAA", "A" * 32, "whsec_!" + "A" * 32]
)
def test_a_secret_that_cannot_be_one_is_told_without_saying_it(secret: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({}, {"OMNISHOT_WEBHOOKS__SECRETS": secret})
    assert "secrets: number 1" in caught.value.detail
    assert "AAAA" not in caught.value.detail
    assert "s3cret" not in caught.value.detail


def test_nothing_secret_is_shown() -> None:
    environment = {
        "OMNISHOT_WEBHOOKS__SECRETS": "whsec_" + "A" * 32,
        "OMNISHOT_STORAGE__OUTPUT_ROOTS": "s3://key:s3cret@bucket/",
    }
    shown = repr(load_settings({}, environment))
    assert "AAAA" not in shown
    assert "s3cret" not in shown


def test_the_environment_overrides_values_one_by_one() -> None:
    given = {"dispatch": {"inline_ms": 1.0, "time_limit_s": 2.0, "queue": {"batch_max": 3}}}
    environment = {
        "OMNISHOT_DISPATCH__INLINE_MS": "9",
        "OMNISHOT_DISPATCH__QUEUE__BATCH_MS": "8",
    }
    dispatch = load_settings(given, environment).dispatch
    assert (dispatch.inline_ms, dispatch.time_limit_s) == (9.0, 2.0)
    assert (dispatch.queue.batch_max, dispatch.queue.batch_ms) == (3, 8.0)
    assert given["dispatch"]["inline_ms"] == 1.0  # the caller's values are left as they were


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"OMNISHOT_DISPATCH__INLINE_MSS": "1"}, "did you mean dispatch.inline_ms?"),
        ({"OMNISHOT_DISPATCH__QUEUE__BATCH": "1"}, "did you mean dispatch.queue.batch"),
        ({"OMNISHOT_LIMIT__MAX_PIXELS": "1"}, "limits.max_pixels"),
        ({"OMNISHOT_QUITE_ELSEWHERE": "1"}, "known: "),
        ({"OMNISHOT_API": "1"}, "api is a group of settings"),
        ({"OMNISHOT_API": "1", "OMNISHOT_API__MAX_VARIANTS": "1"}, "group of settings"),
        ({"OMNISHOT_API__MAX_VARIANTS": "1", "OMNISHOT_API": "1"}, "group of settings"),
        ({"OMNISHOT_API__MAX_VARIANTS__MORE": "1"}, "api.max_variants"),
        ({"OMNISHOT_API__MAX_VARIANTS": "many"}, "api.max_variants"),
        ({"OMNISHOT_API__MAX_VARIANTS": "1.5"}, "api.max_variants"),
        ({"OMNISHOT_API__MAX_VARIANTS": ""}, "api.max_variants"),
        ({"OMNISHOT_API__MAX_VARIANTS": "0"}, "max_variants must be more than 0"),
        ({"OMNISHOT_API__BODY_TIMEOUT_S": "-1"}, "body_timeout_s must be more than 0"),
        ({"OMNISHOT_API__BODY_IDLE_S": "0"}, "body_idle_s must be more than 0"),
        ({"OMNISHOT_API__RATE_LIMIT": "600/minut"}, "such as 600/minute"),
        ({"OMNISHOT_API__RATE_LIMIT": "0/minute"}, "such as 600/minute"),
        ({"OMNISHOT_API__CORS_ORIGINS": "example.org"}, "has to be a scheme and a host"),
        ({"OMNISHOT_API__CORS_ORIGINS": "https://a.org/path"}, "without a path"),
        ({"OMNISHOT_API__TRUSTED_PROXIES": "10.0.0.0/99"}, "10.0.0.0/99"),
        ({"OMNISHOT_REDIS_URL": "http://r"}, "redis_url has to begin with"),
        ({"OMNISHOT_API_KEYS": "a", "OMNISHOT_API__KEYS": "b"}, "are the same setting"),
        ({"OMNISHOT_DISPATCH__TIME_LIMIT_S": "0"}, "time_limit_s more than 0"),
        ({"OMNISHOT_DISPATCH__QUEUE__BATCH_MAX": "0"}, "batch_max must be more than 0"),
        ({"OMNISHOT_RESIZERS__MIN_REPLICAS": "0"}, "min_replicas must be at least 1"),
        ({"OMNISHOT_RESIZERS__AUTOSCALE__CPU_GOAL": "0.8"}, "below cpu_limit"),
        ({"OMNISHOT_RESIZERS__AUTOSCALE__CPU_LIMIT": "80"}, "that at most 1"),
        ({"OMNISHOT_RESIZERS__AUTOSCALE__DRAIN_S": "0"}, "drain_s must be more than 0"),
        ({"OMNISHOT_RESIZERS__AUTOSCALE__STEP_UP": "0"}, "step_up must be at least 1"),
        ({"OMNISHOT_RESIZERS__AUTOSCALE__DOWNSCALE_DELAY_S": "-1"}, "must be 0 or more"),
        ({"OMNISHOT_GATEWAYS__REPLICAS": "0"}, "must be at least 1"),
    ],
    ids=str,
)
def test_a_mistake_in_the_environment_is_told(environment: Mapping[str, str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({}, environment)
    assert told in caught.value.detail


@pytest.mark.parametrize(
    "given",
    [
        {"dispatch": {"inlin_ms": 1}},
        {"dispatch": {"queue": {"batch_maxx": 1}}},
        {"dispatsh": {}},
        {"dispatch": 5},
        {"dispatch": None},
        {"limits": {"max_pixels": "a lot"}},
        {"limits": {"max_pixels": None}},
        {"limits": {"max_pixels": [1]}},
        {"api": {"cache_control": 5}},
    ],
    ids=str,
)
def test_a_mistake_in_given_values_is_told(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        load_settings(given, {})


@pytest.mark.parametrize("name", sorted(set(KNOWN) - ANY_TEXT))
@pytest.mark.parametrize("value", ["-1", "nan"])
def test_no_number_may_be_senseless(name: str, value: str) -> None:
    with pytest.raises(ConfigError):
        load_settings({}, {variable(name): value})
