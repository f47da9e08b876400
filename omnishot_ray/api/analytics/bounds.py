"""What keeps strangers from filling the tables: labels told apart, samples an address."""

import logging
import re
from collections import OrderedDict
from time import monotonic
from urllib.parse import urlsplit

from cachetools import TTLCache

logger = logging.getLogger(__name__)

OTHER = "other"
_FORGET_S = 86_400.0
_MOST_ADDRESSES = 16_384
_MOST_PAGE = 200
_IDENTIFIER = re.compile(r"\d+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|[0-9a-fA-F]{16,}|.{49,}")


class Labels:
    """So many different texts and no more; what is not seen for a day makes room."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._seen: OrderedDict[str, float] = OrderedDict()
        self.refused = 0

    def admit(self, text: str, now: float) -> str:
        """The text, or `OTHER` where there is no room for another one."""
        if not text or text in self._seen:
            pass
        elif len(self._seen) < self._limit or self._make_room(now):
            logger.debug("new %s: %s", self._name, text)
        else:
            if not self.refused:
                logger.warning(
                    "more than %d different texts for %s; further ones are %s",
                    self._limit, self._name, OTHER,
                )  # fmt: skip
            self.refused += 1
            return OTHER
        if text:
            self._seen[text] = now
            self._seen.move_to_end(text)
        return text

    def describe(self) -> dict[str, int]:
        """How many there are, may be, and how often there was no room."""
        return {"known": len(self._seen), "limit": self._limit, "others": self.refused}

    def _make_room(self, now: float) -> bool:
        oldest = next(iter(self._seen))
        if now - self._seen[oldest] < _FORGET_S:
            return False
        del self._seen[oldest]
        return True


def name_page(address: str) -> str:
    """The path of a page with `:id` for what looks like an identifier; no host, query, fragment.

    `https://shop.test/orders/4711?token=…` is `/orders/:id`.
    """
    try:
        path = urlsplit(address).path
    except ValueError:  # a bracket that is not of an address
        path = re.split(r"[?#]", address, maxsplit=1)[0]
    parts = path[: 4 * _MOST_PAGE].split("/")
    named = "/".join(":id" if _IDENTIFIER.fullmatch(part) else part for part in parts)
    return printable(named)[:_MOST_PAGE] or "/"


def printable(text: str) -> str:
    """Without control characters, so that logs and tables stay in line."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


class Quota:
    """A bucket for each address, filled evenly, as large as what a minute brings.

    The address that has been quiet for longest makes room for a new one.
    """

    def __init__(self, per_minute: int) -> None:
        self._rate = per_minute / 60.0
        self._size = float(per_minute)
        self._levels: TTLCache[str, tuple[float, float]] = TTLCache(_MOST_ADDRESSES, 120.0)

    def wait_s(self, address: str) -> float:
        """Until the address may send again; 0: now."""
        return max(0.0, (1.0 - self._level(address, monotonic())) / self._rate)

    def take(self, address: str, count: int) -> None:
        """Note what has come; a batch may overdraw, down to another minute."""
        now = monotonic()
        self._levels[address] = max(-self._size, self._level(address, now) - count), now

    def _level(self, address: str, now: float) -> float:
        level, at_s = self._levels.get(address, (self._size, now))
        return min(self._size, level + (now - at_s) * self._rate)
