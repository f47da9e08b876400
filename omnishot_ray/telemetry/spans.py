"""The stages of a request as spans below the one that Ray Serve makes for it.

Imported only where tracing is on. The engine knows nothing of it: it returns what it measured, and
spans may be given their times afterwards.
"""

from collections.abc import Mapping

from opentelemetry import trace

_NS_PER_MS = 1_000_000


class StageSpans:
    """Makes `omnishot.queue`, `omnishot.decode`, `omnishot.transform`, `omnishot.encode`, …

    A request with several renditions goes back and forth between transforming and encoding, so each
    stage is one span as long as all of it, laid end to end before the answer.
    """

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("omnishot_ray")

    def record(self, stages: Mapping[str, float], ended_ns: int) -> None:
        """Below the current span; nothing where this request is not among those traced."""
        if not trace.get_current_span().is_recording():
            return
        started_ns = ended_ns - round(sum(stages.values()) * _NS_PER_MS)
        for name, ms in stages.items():
            if ms <= 0:
                continue
            span = self._tracer.start_span(f"omnishot.{name}", start_time=started_ns)
            started_ns += round(ms * _NS_PER_MS)
            span.end(started_ns)
