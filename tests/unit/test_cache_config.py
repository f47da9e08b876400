"""What can be set, and what is refused."""

from typing import Any

import pytest

from omnishot_ray.cache.config import CacheConfig


@pytest.mark.parametrize(
    "given",
    [
        {"memory_bytes": -1},
        {"max_entry_bytes": 0},
        {"ttl_s": 0},
        {"ttl_s": float("inf")},
        {"timeout_s": 0},
        {"stale_s": -1},
        {"stale_s": float("nan")},
        {"redis_url": "localhost:6379"},
        {"storage_uri": "cache"},
        {"node_dir": "here"},
    ],
)
def test_wrong_values_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        CacheConfig(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"memory_bytes": 0, "stale_s": 0},
        {"redis_url": "rediss://:secret@redis.example:6379/1"},
        {"redis_url": "unix:///run/redis.sock"},
        {"storage_uri": "file:///var/cache"},
        {"storage_uri": "s3://bucket/results?region=eu-central-1"},
    ],
)
def test_right_values_are_taken(given: dict[str, Any]) -> None:
    config = CacheConfig(**given)
    assert {name: getattr(config, name) for name in given} == given
