"""What a job does, as values."""

from dataclasses import fields

import orjson
import pytest

from omnishot_ray.imaging.cost import estimate_ms
from omnishot_ray.imaging.formats import Format
from omnishot_ray.imaging.header import Header
from omnishot_ray.imaging.options import Options, parse_options
from omnishot_ray.imaging.platforms import PLATFORMS
from omnishot_ray.jobs.config import JobsConfig
from omnishot_ray.jobs.work import as_options, as_values, in_chunks, scope_of, work_key

EVERY = [parse_options({"platform": name}) for name in PLATFORMS]
HEADER = Header(Format.JPEG, 4000, 3000)


@pytest.mark.parametrize(
    "options",
    [*EVERY, Options(accept=(Format.AVIF,), quality="auto", dpr=2.0, width=7, name="x")],
    ids=lambda options: options.name,
)
def test_options_survive_json(options: Options) -> None:
    values = orjson.loads(orjson.dumps(as_values(options)))
    assert as_options(values) == options
    assert set(values) <= {item.name for item in fields(Options)}
    assert as_options({**values, "gone": 1}) == options


def test_names_are_of_content_and_options() -> None:
    variants = [as_values(EVERY[0])]
    assert work_key("a", variants) == work_key("a", [dict(reversed(variants[0].items()))])
    assert work_key("a", variants) != work_key("b", variants)
    assert work_key("a", variants) != work_key("a", [as_values(EVERY[1])])
    assert scope_of("u", "a", variants, "", "") != scope_of("v", "a", variants, "", "")
    assert scope_of("u", "a", variants, "", "x") != scope_of("u", "a", variants, "x", "")


@pytest.mark.parametrize("chunk_ms", [1.0, 300.0, 1e9])
def test_chunks_hold_everything_in_order_within_their_bound(chunk_ms: float) -> None:
    chunks = in_chunks(1_000_000, HEADER, EVERY, chunk_ms)
    assert [one for chunk in chunks for one in chunk] == EVERY
    for chunk in chunks:
        assert len(chunk) == 1 or estimate_ms(1_000_000, HEADER, chunk) <= chunk_ms
    assert (len(chunks) == 1) is (chunk_ms == 1e9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"share": 0.0},
        {"share": 1.5},
        {"lease_s": 0.0},
        {"max_attempts": 0},
        {"timeout_s": 7200.0},
        {"redis_url": "http://x"},
        {"blobs_uri": "/tmp"},
        {"dir": ""},
    ],
)
def test_a_wrong_setting_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        JobsConfig(**wrong)  # type: ignore[arg-type]
