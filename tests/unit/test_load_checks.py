"""Answers that look right and are not, and answers that no reader can read."""

import base64
import io
import json
import random

import pytest
from PIL import Image

from omnishot_ray.load import checks
from omnishot_ray.load.pictures import drawn_library
from omnishot_ray.load.traffic import Ask, Expected

SMALL = drawn_library()["small"][0]
EXPECTED = (Expected(64, 48, "jpeg", "wide"), Expected(48, 64, "jpeg", "tall"))
FOUR = Ask("variants", "/api/variants?", SMALL, 1, EXPECTED, 0.0)
AVIF = Ask("avif", "/api/optimize", SMALL, 1, (Expected(64, 48, "avif"),), 0.0)
JOB = Ask("job", "/api/jobs", SMALL, 1, EXPECTED, 0.0, "job")


def picture(width: int, height: int, plugin: str = "JPEG") -> bytes:
    sink = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").resize((width, height)).save(sink, plugin)
    return sink.getvalue()


def entry(name: str, data: bytes | None = None, **other: object) -> dict[str, object]:
    width, height = (64, 48) if name == "wide" else (48, 64)
    said = {"name": name, "status": "ok", "width": width, "height": height, "format": "jpeg"}
    coded = base64.b64encode(picture(width, height) if data is None else data).decode()
    return {**said, "data": coded, **other}


def judged(*listed: object, decode: bool = False) -> str:
    return checks.judge(FOUR, 200, json.dumps({"variants": listed}).encode(), decode)


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize(
    ("wide", "problem"),
    [
        (entry("wide"), ""),
        (entry("wide", b"no picture"), "not a picture"),
        (entry("wide", b"no picture", format="gif"), "wrong format"),
        (entry("wide", picture(64, 48, "GIF")), "gif and not jpeg"),
        (entry("wide", picture(63, 48)), "wrong size"),
        (entry("wide", width=63), "wrong size"),
        (entry("wide", picture(64, 48)[:30]), "cannot be decoded"),
        (entry("wide", status="error"), "variant failed"),
        (entry("other"), "variant failed"),
        (entry("wide") | {"data": "?"}, "unreadable document"),
        (entry("wide") | {"data": None}, "unreadable document"),
        (7, "unreadable document"),
    ],
)
def test_each_variant_is_looked_at_without_decoding(
    wide: object, problem: str, decode: bool
) -> None:
    assert judged(wide, entry("tall"), decode=decode) == problem


def test_as_many_variants_as_asked_for() -> None:
    assert judged(entry("wide"), entry("tall"), entry("tall")) == "variant failed"


def test_a_format_left_open_is_the_one_that_is_said() -> None:
    ask = Ask("variants", "/api/variants?", SMALL, 1, (Expected(64, 48, "auto", "wide"),), 0.0)
    for said, problem in (("webp", ""), ("avif", "another format than said")):
        one = entry("wide", picture(64, 48, "WEBP"), format=said)
        assert checks.judge(ask, 200, json.dumps({"variants": [one]}).encode()) == problem


def test_no_damage_leaves_an_avif_unjudged() -> None:
    data = picture(64, 48, "AVIF")
    found = set()
    for seed in range(200):
        chance, broken = random.Random(seed), bytearray(data)
        for _ in range(3):
            broken[chance.randrange(len(data))] = chance.randrange(256)
        found.add(checks.judge(AVIF, 200, bytes(broken), decode=True))
    assert "cannot be decoded" in found
    assert checks.judge(AVIF, 200, data[:-40] + bytes(40), decode=True) == "cannot be decoded"


@pytest.mark.parametrize("error", [RuntimeError, Image.DecompressionBombError, MemoryError])
def test_whatever_a_decoder_raises_is_told(monkeypatch, error: type[Exception]) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("damaged")

    monkeypatch.setattr(Image, "open", fail)
    data = base64.b64decode(str(entry("wide")["data"]))
    ask = Ask("photo", "/api/optimize", SMALL, 1, EXPECTED[:1], 0.0)
    assert checks.judge(ask, 200, data) == "cannot be decoded"


def test_a_claim_of_many_pixels_costs_nothing(monkeypatch) -> None:
    huge = bytearray(picture(64, 48, "PNG"))
    huge[16:24] = (30_000).to_bytes(4, "big") * 2
    ask = Ask("photo", "/api/optimize", SMALL, 1, (Expected(64, 48, "png"),), 0.0)
    monkeypatch.setattr(Image, "open", None)
    assert checks.judge(ask, 200, bytes(huge), decode=True) == "wrong size"


def test_depth_without_an_end_is_unreadable() -> None:
    assert checks.judge(FOUR, 200, b"[" * 200_000) == "unreadable document"


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"status": "completed", "variants": [entry("wide"), entry("tall")]}, ""),
        ({"status": "dead"}, "job dead"),
        ({"status": "x" * 1000}, "unreadable document"),
        ({"status": "completed", "variants": [entry("wide")]}, "job, variant failed"),
        (
            {"status": "completed", "variants": [entry("wide"), entry("tall", status="error")]},
            "job, variant failed",
        ),
        (
            {"status": "completed", "variants": [entry("wide", width=1), entry("tall")]},
            "job, wrong size",
        ),
        (
            {"status": "completed", "variants": [entry("wide", format="webp"), entry("tall")]},
            "job, wrong format",
        ),
        ({"status": "completed", "variants": [1, 2]}, "unreadable document"),
        ({"status": "completed"}, "unreadable document"),
        (None, "unreadable document"),
        ([], "unreadable document"),
    ],
)
def test_a_job_is_right_if_its_variants_are(document: object, problem: str) -> None:
    assert checks.judge_job(JOB, document) == problem


@pytest.mark.parametrize(
    ("status", "data", "problem"),
    [
        (200, picture(64, 48), ""),
        (200, picture(48, 64), "job result, wrong size"),
        (200, picture(64, 48)[:-300], "job result, cannot be decoded"),
        (404, b"", "job result 404"),
        (0, b"", "job result, no answer"),
    ],
)
def test_results_of_jobs_are_judged_as_pictures(status: int, data: bytes, problem: str) -> None:
    assert checks.judge_result(EXPECTED[0], status, data) == problem
