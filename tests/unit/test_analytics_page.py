"""docs/analytics.md says what the code does."""

import re
from pathlib import Path

from omnishot_ray.api.analytics.bodies import KINDS
from omnishot_ray.api.analytics.config import AnalyticsConfig
from omnishot_ray.api.application import describe_api
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.guard import is_open
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.metrics.alerts import DEFAULT_RULES
from omnishot_ray.metrics.funnel import STEPS
from omnishot_ray.metrics.rules import parse_rule
from omnishot_ray.metrics.vitals import VITALS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "analytics.md").read_text()
PATHS = describe_api(LocalOptimizer(Limits()), ApiConfig())["paths"]


def test_every_address_is_there() -> None:
    ours = [path for path in PATHS if path.startswith(("/api/analytics", "/analytics.js"))]
    assert len(ours) == 14
    for path in ours:
        told = path.removeprefix("/api/analytics/analysis").removeprefix("/api/analytics/")
        assert f"`{told}" in PAGE or path in PAGE or f"**`{told}" in PAGE, path


def test_what_is_posted_needs_no_key() -> None:
    for path, operations in PATHS.items():
        if path.startswith("/api/analytics"):
            for method in operations:
                assert is_open(method.upper(), path) == (method == "post"), path


def test_every_field_of_a_body_is_there() -> None:
    for name, kind in KINDS.items():
        schema = kind.schema(1)
        batch = schema["anyOf"][0] if "anyOf" in schema else schema
        for field in batch["properties"][name]["items"]["properties"]:
            assert f'"{field}"' in PAGE, f"{name}: {field}"


def test_thresholds_are_those_of_the_code() -> None:
    for vital in VITALS.values():
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| {vital.name} |"))
        told = [
            float(number) * (1000 if unit == " s" else 1)
            for number, unit in re.findall(r"([0-9.]+)( ms| s)? (?=\|)", row)
        ]
        assert told == [vital.good, vital.poor], row


def test_rules_steps_and_limits_are_those_of_the_code() -> None:
    for rule in map(parse_rule, DEFAULT_RULES):
        assert f"`{rule.name}`" in PAGE
    assert ", ".join(STEPS) in " ".join(PAGE.split())
    config = AnalyticsConfig()
    told = " ".join(PAGE.split())
    assert (
        f"{config.max_pages} pages, {config.max_types} types, {config.max_alerts} alerts and "
        f"{config.max_segments} segments"
    ) in told
    assert f"{config.max_body_bytes // 1024} KiB (413) and {config.max_items} items" in told
