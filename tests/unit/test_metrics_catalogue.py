"""The catalogue follows the rules that Prometheus has for names."""

import re

import pytest

from omnishot_ray.metrics.catalogue import CATALOGUE, LABEL_LIMITS, Kind, Metric


@pytest.mark.parametrize("metric", CATALOGUE.values(), ids=lambda metric: metric.name)
def test_a_metric_is_named_as_it_should_be(metric: Metric) -> None:
    assert re.fullmatch(r"omnishot_[a-z0-9_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.help.endswith(".")
    assert metric.unit in {"", "seconds", "bytes", "cores", "ratio"}
    if metric.unit and metric.unit != "cores":
        assert metric.name.removesuffix("_total").endswith(f"_{metric.unit}")
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
    assert list(metric.buckets) == sorted(set(metric.buckets))


def test_every_label_is_bounded() -> None:
    used = {label for metric in CATALOGUE.values() for label in metric.labels}
    assert used <= set(LABEL_LIMITS)
    assert not {label for label in used if LABEL_LIMITS[label] < 1}
