"""PromQL that can only name metrics of the catalogue, in the way that their kind allows.

https://prometheus.io/docs/prometheus/latest/querying/functions/
"""

from collections.abc import Mapping

from omnishot_ray.metrics.catalogue import Kind, Metric, metric

PANEL_WINDOW = "$__rate_interval"
"""Grafana's own: at least four scrapes, and a step of the panel."""
RULE_WINDOW = "5m"

Where = Mapping[str, str]
"""Matchers of labels: `{"status": '=~"5.."'}`."""
_EVERYTHING: Where = {}


def rate(
    name: str,
    *by: str,
    where: Where = _EVERYTHING,
    window: str = PANEL_WINDOW,
    rare: bool = False,
) -> str:
    """How much a counter grows a second, summed over all labels but `by`.

    A `rare` one may not be there at all as long as nothing has happened; that is nothing a second.
    Raises KeyError for an unknown metric and ValueError for one of another kind or other labels.
    """
    counter = _known(name, Kind.COUNTER, (*by, *where))
    summed = f"sum{_by(by)}(rate({counter.name}{_matchers(where)}[{window}]))"
    return f"{summed} or vector(0)" if rare else summed


def count_rate(name: str, *by: str, window: str = PANEL_WINDOW) -> str:
    """How often a histogram was observed a second."""
    histogram = _known(name, Kind.HISTOGRAM, by)
    return f"sum{_by(by)}(rate({histogram.name}_count[{window}]))"


def quantile(share: float, name: str, *by: str, window: str = PANEL_WINDOW) -> str:
    """What `share` of the observations of a histogram lie below."""
    histogram = _known(name, Kind.HISTOGRAM, by)
    buckets = f"sum{_by(('le', *by))}(rate({histogram.name}_bucket[{window}]))"
    return f"histogram_quantile({share:g}, {buckets})"


def level(name: str, *by: str, how: str = "sum", where: Where = _EVERYTHING) -> str:
    """What a gauge says; `how` is `sum`, `max` or `min` over all labels but `by`."""
    gauge = _known(name, Kind.GAUGE, (*by, *where))
    return f"{how}{_by(by)}({gauge.name}{_matchers(where)})"


def share(part: str, whole: str) -> str:
    """A part of a whole, 0 to 1; nothing where there is no whole."""
    return f"(({part}) or vector(0)) / (({whole}) > 0)"


def _known(name: str, kind: Kind, labels: tuple[str, ...]) -> Metric:
    known = metric(name)
    if known.kind is not kind:
        raise ValueError(f"{name} is a {known.kind}, not a {kind}")
    if unknown := set(labels) - set(known.labels):
        raise ValueError(f"{name} has no label {', '.join(sorted(unknown))}")
    return known


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)}) " if labels else ""


def _matchers(where: Where) -> str:
    inner = ",".join(f"{label}{matcher}" for label, matcher in where.items())
    return f"{{{inner}}}" if inner else ""
