"""What visitors ask for, one request after the other: knows neither Locust nor Ray.

A visitor is an endless sequence of requests, drawn from a seed and his number alone, so that any
split of the visitors over processes sends the same requests.
"""

import bisect
import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from urllib.parse import urlencode

from omnishot_ray.imaging.geometry import Size, plan_rendition
from omnishot_ray.imaging.options import parse_options
from omnishot_ray.load.pictures import Library, Picture

_FOUR = ("instagram-post", "facebook-post", "x-post", "pinterest-pin")
_ONE_OF = ("instagram-post", "instagram-story", "x-post", "open-graph", "pinterest-pin", "ebay")


@dataclass(frozen=True, slots=True)
class Expected:
    """One rendition of an answer: its pixels and format, its name where there are several."""

    width: int
    height: int
    format: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, `think_s` after the answer to the one before.

    `picture` and `number` say what the body holds (`pictures.numbered`), `wrap` how: `raw`, as the
    part `file` of a form (`form`), or as a job (`job`), whose document is `job`.
    """

    kind: str
    path: str
    picture: Picture
    number: int
    expected: tuple[Expected, ...]
    think_s: float
    wrap: str = "raw"
    job: str = ""

    @property
    def is_json(self) -> bool:
        """Whether the answer is a document and not a picture."""
        return self.path.startswith("/api/variants") or not self.expected


@dataclass(frozen=True, slots=True)
class Mix:
    """How often what is asked for, and how visitors behave.

    The share of requests for pictures of the catalogue is `reuse`, the others are for pictures
    never asked for before. Of the catalogue the n-th is asked for 1/n^`zipf` times as often as the
    first; 0.64 to 0.83 were measured at six proxies (Breslau et al., "Web Caching and Zipf-like
    Distributions", INFOCOM 1999).
    """

    weights: Mapping[str, float]
    reuse: float = 0.7
    zipf: float = 0.8
    catalogue: int = 2000
    think_s: float = 0.1
    """Mean of the pause before a request; pauses are exponential, at most five times this."""

    def __post_init__(self) -> None:
        unknown = set(self.weights) - set(_KINDS)
        if unknown or not self.weights or min(self.weights.values()) <= 0:
            raise ValueError(f"weights are more than 0, of {', '.join(_KINDS)}")
        if not 0 <= self.reuse <= 1 or self.zipf < 0 or self.catalogue < 1 or self.think_s < 0:
            raise ValueError(
                "reuse lies within 0 and 1, catalogue is at least 1, zipf and think_s 0 or more"
            )


@dataclass(frozen=True)
class Traffic:
    """A library of pictures, a mix and a seed. Another seed asks for pictures with other numbers,
    so that no cache has them from before.
    """

    library: Library
    mix: Mix
    seed: int = 1

    def visitor(self, number: int) -> Iterator[Ask]:
        """What this visitor asks for, without an end."""
        chance = random.Random(f"{self.seed}/{number}")
        first = (self.seed - 1) % _SEEDS << 48
        kinds, weights = zip(*sorted(self.mix.weights.items()), strict=True)
        for count in itertools.count():
            (kind,) = chance.choices(kinds, weights)
            think_s = self.mix.think_s and min(
                chance.expovariate(1 / self.mix.think_s), 5 * self.mix.think_s
            )
            fresh = _FRESH + (number << 32) + count
            asked = first + (self._rank(chance) if chance.random() < self.mix.reuse else fresh)
            # A picture of the catalogue is always asked for in the few ways that its page has.
            ways = random.Random(f"{kind}/{asked}/{chance.randrange(2)}")
            yield _KINDS[kind](self.library, ways, asked, think_s)

    def _rank(self, chance: random.Random) -> int:
        """The number of a picture of the catalogue, the hottest 0."""
        return bisect.bisect(self._shares, chance.random() * self._shares[-1])

    @cached_property
    def _shares(self) -> list[float]:
        ranks = range(1, self.mix.catalogue + 1)
        return list(itertools.accumulate(rank**-self.mix.zipf for rank in ranks))


_FRESH = 1 << 60
"""Above all numbers of a catalogue."""
_SEEDS = 1 << 11
"""So many have numbers of their own, below `_FRESH`."""


def _one(
    kind: str, size: str, wanted: Callable[[random.Random], Mapping[str, str | int]], wrap: str
) -> Callable[[Library, random.Random, int, float], Ask]:
    """A kind of request for one rendition."""

    def make(library: Library, chance: random.Random, number: int, think_s: float) -> Ask:
        picture, given = chance.choice(library[size]), wanted(chance)
        path = f"/api/optimize?{urlencode(given)}"
        expected = (_expect(picture, given),)
        return Ask(kind, path, picture, number, expected, think_s, wrap)

    return make


def _variants(library: Library, chance: random.Random, number: int, think_s: float) -> Ask:
    picture = chance.choice(library["large"])
    expected = tuple(_expect(picture, {"platform": name}) for name in _FOUR)
    path = f"/api/variants?platforms={','.join(_FOUR)}"
    return Ask("variants", path, picture, number, expected, think_s)


def _info(library: Library, chance: random.Random, number: int, think_s: float) -> Ask:
    return Ask("info", "/api/info", chance.choice(library["small"]), number, (), think_s)


def _job(library: Library, chance: random.Random, number: int, think_s: float) -> Ask:
    picture, names = chance.choice(library["medium"]), list(_FOUR[:2])
    expected = tuple(_expect(picture, {"platform": name}) for name in names)
    job = json.dumps({"platforms": names})
    return Ask("job", "/api/jobs", picture, number, expected, think_s, "job", job)


def _expect(picture: Picture, given: Mapping[str, str | int]) -> Expected:
    return _plan(picture.width, picture.height, tuple(given.items()))


@cache
def _plan(width: int, height: int, given: tuple[tuple[str, str | int], ...]) -> Expected:
    options = parse_options(dict(given))
    size = plan_rendition(Size(width, height), options).output
    return Expected(*size, str(options.format), str(dict(given).get("platform", "")))


_KINDS: Mapping[str, Callable[[Library, random.Random, int, float], Ask]] = {
    "thumbnail": _one(
        "thumbnail",
        "small",
        lambda chance: {"width": chance.choice((64, 120, 200, 320)), "format": "jpeg"},
        "raw",
    ),
    "photo": _one(
        "photo",
        "large",
        lambda chance: {"width": chance.choice((480, 720, 1080, 1600)), "format": "jpeg"},
        "raw",
    ),
    "webp": _one(
        "webp",
        "medium",
        lambda chance: {"width": chance.choice((320, 640, 1024)), "format": "webp"},
        "raw",
    ),
    "avif": _one("avif", "medium", lambda _: {"width": 640, "format": "avif"}, "raw"),
    "platform": _one(
        "platform", "medium", lambda chance: {"platform": chance.choice(_ONE_OF)}, "raw"
    ),
    "upload": _one("upload", "small", lambda _: {"width": 240, "format": "jpeg"}, "form"),
    "variants": _variants,
    "info": _info,
    "job": _job,
}

MIXES: Mapping[str, Mix] = {
    # Pages of thumbnails and photos, a few uploads, now and then something dear.
    "usual": Mix(
        {
            "thumbnail": 42,
            "photo": 18,
            "webp": 12,
            "platform": 12,
            "variants": 5,
            "upload": 5,
            "info": 3,
            "avif": 2,
            "job": 1,
        }
    ),
    # What a plain image server can do too, nothing asked for twice: to compare with one.
    "plain": Mix({"thumbnail": 60, "photo": 25, "webp": 15}, reuse=0.0),
}


def without(mix: Mix, kinds: set[str]) -> Mix:
    """The mix less these kinds."""
    weights = {kind: weight for kind, weight in mix.weights.items() if kind not in kinds}
    return replace(mix, weights=weights)
