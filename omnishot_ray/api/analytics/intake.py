"""From what pages say to samples: times, ratings, labels and counts made trustworthy."""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from omnishot_ray.api.analytics.bodies import AlertItem, EventItem, Item, StepItem, VitalItem
from omnishot_ray.api.analytics.bounds import Labels, name_page, printable
from omnishot_ray.api.analytics.config import AnalyticsConfig
from omnishot_ray.errors import FieldError, InvalidParameters
from omnishot_ray.metrics.alerts import BROWSER_PREFIX
from omnishot_ray.metrics.query import Metrics
from omnishot_ray.metrics.samples import EventSample, FunnelSample, Sample, VitalSample
from omnishot_ray.metrics.vitals import VITALS

_DEEPEST = 5
_MILLISECONDS_FROM = 1e11
"""As seconds it is the year 5138, as milliseconds 1973."""
_CONNECTIONS = ("slow-2g", "2g", "3g", "4g", "5g", "wifi", "ethernet", "cellular", "none")
_DEVICES = ("phone", "tablet", "desktop", "tv", "other")
_BOT = re.compile(
    r"bot\b|bot/|crawl|spider|slurp|lighthouse|pingdom|python-requests|curl/|wget", re.I
)
_TABLET = re.compile(r"ipad|tablet|android(?!.*mobile)", re.I)
_PHONE = re.compile(r"mobi|iphone|android", re.I)


def is_bot(agent: str) -> bool:
    """Whether a `User-Agent` calls itself something that is no visitor."""
    return bool(_BOT.search(agent))


def device_of(agent: str) -> str:
    """`phone`, `tablet` or `desktop` by a `User-Agent`; empty where there is none."""
    if not agent:
        return ""
    if _TABLET.search(agent):
        return "tablet"
    return "phone" if _PHONE.search(agent) else "desktop"


@dataclass(slots=True)
class Tally:
    """What became of the items of one request."""

    accepted: int = 0
    rejected: int = 0
    clamped: int = 0
    """Accepted, but something of it was changed to what can be believed."""
    sampled_out: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def describe(self) -> dict[str, Any]:
        """As answered with 202."""
        return {
            "accepted": self.accepted,
            "rejected": self.rejected,
            "clamped": self.clamped,
            "sampled_out": self.sampled_out,
            "reasons": dict(self.reasons),
        }


class Intake:
    """Takes items of one process's visitors and records them."""

    def __init__(self, metrics: Metrics, config: AnalyticsConfig) -> None:
        self._metrics = metrics
        self._config = config
        self.labels = {
            "page": Labels("page", config.max_pages),
            "type": Labels("type", config.max_types),
            "alert": Labels("alert", config.max_alerts),
            "segment": Labels("segment", config.max_segments),
        }

    def take(self, items: Sequence[Item], agent: str, now: float) -> Tally:
        """Record what can be believed. `agent` is the `User-Agent`, `now` Unix seconds.

        Raises:
            InvalidParameters: a timestamp is text, but not of ISO 8601.
        """
        times = [_seconds(place, item.timestamp, now) for place, item in enumerate(items)]
        tally = Tally()
        if is_bot(agent):
            tally.rejected = tally.reasons["bot"] = len(items)
            return tally
        device = device_of(agent)
        for item, at_s in zip(items, times, strict=True):
            self._take_one(item, at_s, device, now, tally)
        return tally

    def _take_one(self, item: Item, at_s: float, device: str, now: float, tally: Tally) -> None:
        refusal = self._refusal(item, at_s, now)
        if refusal:
            tally.rejected += 1
            tally.reasons[refusal] += 1
            return
        if not self._is_sampled(item.session_id or ""):
            tally.sampled_out += 1
            return
        changes: set[str] = set()
        if at_s > now + self._config.max_ahead_s:
            changes.add("in-the-future")
        at_s = min(at_s, now)
        if item.device in _DEVICES:
            device = item.device
        self._metrics.record(self._sample(item, at_s, device, now, changes))
        tally.accepted += 1
        tally.clamped += bool(changes)
        tally.reasons.update(changes)

    def _refusal(self, item: Item, at_s: float, now: float) -> str:
        if at_s < now - self._config.max_age_s:
            return "too-old"
        if isinstance(item, VitalItem) and item.value > VITALS[item.name].most:
            return "too-large"
        return ""

    def _is_sampled(self, session_id: str) -> bool:
        share = self._config.sample_share
        if share >= 1.0:
            return True
        digest = hashlib.blake2b(session_id.encode(), digest_size=8).digest()
        return int.from_bytes(digest) < share * 2**64

    def _sample(
        self, item: Item, at_s: float, device: str, now: float, changes: set[str]
    ) -> Sample:
        def admit(label: str, text: str) -> str:
            admitted = self.labels[label].admit(text, now)
            if admitted != text:
                changes.add(f"too-many-{label}s")
            return admitted

        page = admit("page", name_page(item.page)) if item.page else ""
        session_id = printable(item.session_id or "")
        match item:
            case VitalItem():
                rating = VITALS[item.name].rate(item.value)
                if item.rating not in (None, rating):
                    changes.add("rating")
                return VitalSample(
                    at_s=at_s,
                    name=item.name,
                    value=item.value,
                    rating=rating,
                    page=page,
                    session_id=session_id,
                    device=device,
                    connection=item.connection if item.connection in _CONNECTIONS else "",
                )
            case StepItem():
                return FunnelSample(
                    at_s=at_s,
                    step=item.step,
                    session_id=session_id,
                    user_id=printable(item.user_id or ""),
                    segment=admit("segment", printable(item.segment or item.effect_id or "")[:64]),
                    device=device,
                )
            case EventItem():
                return EventSample(
                    at_s=at_s,
                    type=admit("type", item.type),
                    page=page,
                    session_id=session_id,
                    data=self._data(item.data, changes),
                )
            case AlertItem():
                told = item.model_dump(include={"message", "value", "threshold"}, exclude_none=True)
                return EventSample(
                    at_s=at_s,
                    type=f"{BROWSER_PREFIX}{item.severity}:{admit('alert', item.name)}",
                    page=page,
                    session_id=session_id,
                    data=self._data(told, changes),
                )

    def _data(self, data: dict[str, Any] | None, changes: set[str]) -> str:
        if not data:
            return ""
        if _depth(data) <= _DEEPEST:
            text = orjson.dumps(data)
            if len(text) <= self._config.max_data_bytes:
                return text.decode()
        changes.add("data")
        return ""


def _depth(value: Any) -> int:
    """How deeply containers are nested, as far as it matters."""
    depth, level = 0, [value]
    while level and depth <= _DEEPEST:
        inner = [one for one in level if isinstance(one, dict | list)]
        depth += bool(inner)
        level = [part for one in inner for part in (one.values() if isinstance(one, dict) else one)]
        if not inner:
            break
    return depth


def _seconds(place: int, said: float | str | None, now: float) -> float:
    """Unix seconds of a timestamp."""
    if said is None:
        return now
    if isinstance(said, str):
        try:
            when = datetime.fromisoformat(said)
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            detail = "is neither a number nor ISO 8601 such as 2026-05-01T12:00:00Z"
            name = f"[{place}].timestamp"
            raise InvalidParameters(f"{name} {detail}.", (FieldError(name, detail),)) from None
    return said / 1000.0 if math.fabs(said) >= _MILLISECONDS_FROM else said
