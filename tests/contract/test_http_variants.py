"""`POST /api/variants`: one image in, many out."""

import base64
import email
import email.policy
import io
import json
import zipfile
from email.message import EmailMessage
from typing import Any

import httpx2
import jsonschema
import pytest

from omnishot_ray.imaging.platforms import PLATFORMS, in_group
from tests import corpus
from tests.contract.checks import (
    PROBLEM_KEYS,
    CheckedClient,
    assert_problem,
    said,
)
from tests.contract.conftest import Serve
from tests.pictures import encode, noise, opened, scene

JPEG = encode(scene(120, 80), "JPEG")
THREE = [
    {"name": "small", "width": 30},
    {"name": "square.v1", "width": 40, "height": 40, "format": "webp", "gravity": "center"},
    {"name": "turned", "rotate": 90, "format": "png"},
]
MIXED = [
    {"name": "good", "width": 30, "format": "png"},
    {"name": "wrong", "widht": 30},
    {"name": "contradicting", "lossless": True, "format": "jpeg"},
    {"name": "too-small", "max_bytes": 100, "format": "jpeg"},
    {"name": "good-too", "width": 20, "format": "jpeg"},
]


def ask(
    client: CheckedClient,
    variants: object = None,
    accept: str = "application/json",
    data: bytes = JPEG,
    **query: str,
) -> httpx2.Response:
    if variants is not None:
        query["variants"] = variants if isinstance(variants, str) else json.dumps(variants)
    headers = {"Accept": accept, "Content-Type": "image/jpeg"}
    return client.post("/api/variants", params=query, content=data, headers=headers)


def entries(response: httpx2.Response) -> dict[str, dict[str, Any]]:
    assert response.status_code == 200, said(response)
    return {entry["name"]: entry for entry in response.json()["variants"]}


# Which.


def test_variants_are_listed_in_their_order(client: CheckedClient) -> None:
    assert list(entries(ask(client, THREE))) == ["small", "square.v1", "turned"]


def test_platforms_groups_and_variants_add_up(client: CheckedClient) -> None:
    response = ask(
        client,
        [{"name": "own", "width": 9}],
        platforms="github-preview, apple-touch-icon,github-preview",
        group="marketplace",
        width="16",
        height="16",
    )
    market = [platform.name for platform in in_group("marketplace")]
    assert list(entries(response)) == ["github-preview", "apple-touch-icon", *market, "own"]


def test_a_platform_has_its_size(client: CheckedClient) -> None:
    entry = entries(ask(client, platforms="apple-touch-icon"))["apple-touch-icon"]
    platform = PLATFORMS["apple-touch-icon"]
    assert (entry["width"], entry["height"]) == (platform.width, platform.height)
    assert entry["format"] == platform.format


def test_shared_options_lie_under_a_variants_own(client: CheckedClient) -> None:
    own = [{"name": "a"}, {"name": "b", "width": 20, "format": "png"}]
    made = entries(ask(client, own, width="30", format="webp"))
    assert {(one["width"], one["format"]) for one in made.values()} == {(30, "webp"), (20, "png")}


def test_shared_options_lie_over_a_platform(client: CheckedClient) -> None:
    made = entries(ask(client, platforms="apple-touch-icon", width="20", format="webp"))
    assert made["apple-touch-icon"]["width"] == 20
    assert made["apple-touch-icon"]["format"] == "webp"


def test_a_shared_dpr_multiplies_what_each_variant_asks(client: CheckedClient) -> None:
    """It is judged with a variant's sides, not alone."""
    made = entries(ask(client, [{"name": "a", "width": 20}], platforms="pwa-icon-small", dpr="2"))
    assert made["a"]["width"] == 40
    assert made["pwa-icon-small"]["width"] == 384


def test_a_variant_may_be_of_a_platform(client: CheckedClient) -> None:
    asked = [{"platform": "pwa-icon"}, {"platform": "pwa-icon", "name": "b", "width": 20}]
    made = entries(ask(client, asked))
    assert list(made) == ["pwa-icon", "b"]
    assert [one["height"] for one in made.values()] == [512, 512]


def test_a_variant_without_a_name_gets_one(client: CheckedClient) -> None:
    assert list(entries(ask(client, [{"width": 5}, {"width": 6}]))) == ["variant-1", "variant-2"]


def test_everything_may_be_fields_of_a_form(client: CheckedClient) -> None:
    fields = {"platforms": "pwa-icon-small", "variants": json.dumps(THREE), "height": "20"}
    response = client.post("/api/variants", files={"file": JPEG}, data=fields)
    made = entries(response)
    assert list(made) == ["pwa-icon-small", "small", "square.v1", "turned"]
    assert made["pwa-icon-small"]["height"] == 20


def test_the_variants_may_be_a_file_of_the_form(client: CheckedClient) -> None:
    files = {"file": JPEG, "variants": ("v.json", json.dumps(THREE), "application/json")}
    response = client.post("/api/variants", files=files)
    assert list(entries(response)) == ["small", "square.v1", "turned"]


# The answer as JSON.


def test_the_document(client: CheckedClient) -> None:
    response = ask(client, THREE)
    assert response.headers["content-type"] == "application/json"
    assert response.headers["vary"] == "Accept, Accept-Encoding"
    assert response.headers["x-omnishot-source"] == f"120x80;jpeg;{len(JPEG)}"
    assert response.headers["x-cache"] == "miss"
    document = response.json()
    assert document["source"] == {
        "width": 120,
        "height": 80,
        "format": "jpeg",
        "bytes": len(JPEG),
    }
    assert set(document["timings_ms"]) == {"queue", "decode", "transform", "encode", "cache"}
    assert document["timings_ms"]["decode"] > 0
    small, square, turned = document["variants"]
    shown = {
        name: square[name] for name in ("status", "width", "height", "format", "crop", "error")
    }
    assert shown == {
        "status": "ok",
        "width": 40,
        "height": 40,
        "format": "webp",
        "crop": [20, 0, 80, 80],
        "error": None,
    }
    assert small["crop"] is turned["crop"] is None
    assert len({one["etag"] for one in document["variants"]}) == 3
    for one in document["variants"]:
        image = opened(base64.b64decode(one["data"], validate=True))
        assert image.size == (one["width"], one["height"])
        assert (image.format or "").lower() == one["format"]
        assert len(base64.b64decode(one["data"])) == one["bytes"]


@pytest.mark.parametrize("variants", [THREE, MIXED])
def test_the_document_is_as_the_openapi_document_says(
    client: CheckedClient, variants: list[dict[str, Any]]
) -> None:
    answer = client.get("/openapi.json").json()["paths"]["/api/variants"]["post"]["responses"][
        "200"
    ]
    schema = answer["content"]["application/json"]["schema"]
    jsonschema.validate(ask(client, variants).json(), schema)


# The answer in other containers.


def parts_of(response: httpx2.Response) -> list[EmailMessage]:
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + response.content, policy=email.policy.HTTP)
    assert isinstance(message, EmailMessage)
    assert message.get_content_type() == "multipart/mixed"
    assert message.defects == []
    return [part for part in message.iter_parts() if isinstance(part, EmailMessage)]


def test_multipart(client: CheckedClient) -> None:
    response = ask(client, MIXED, accept="multipart/mixed")
    manifest, *pictures = parts_of(response)
    assert manifest.get_content_type() == "application/json"
    document = json.loads(manifest.get_content())
    in_json = ask(client, MIXED).json()
    assert document["source"] == in_json["source"]
    assert [one["status"] for one in document["variants"]] == [
        one["status"] for one in in_json["variants"]
    ]
    made = [one for one in document["variants"] if one["status"] == "ok"]
    assert [part.get_filename() for part in pictures] == ["good.png", "good-too.jpg"]
    for part, one in zip(pictures, made, strict=True):
        body = part.get_content()
        assert part.get_content_type() == f"image/{one['format']}"
        assert int(part["Content-Length"]) == len(body) == one["bytes"]
        assert part["ETag"] == one["etag"]
        assert one["part"] == one["name"] == part["Content-Disposition"].params["name"]
        assert opened(body).size == (one["width"], one["height"])


def test_zip(client: CheckedClient) -> None:
    response = ask(client, MIXED, accept="application/zip")
    assert response.headers["content-type"] == "application/zip"
    assert response.headers["content-disposition"] == 'attachment; filename="variants.zip"'
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["manifest.json", "good.png", "good-too.jpg"]
        document = json.loads(archive.read("manifest.json"))
        made = [one for one in document["variants"] if one["status"] == "ok"]
        for one in made:
            body = archive.read(one["file"])
            assert len(body) == one["bytes"]
            assert opened(body).size == (one["width"], one["height"])
    assert [one["status"] for one in document["variants"]] == [
        "ok",
        "error",
        "error",
        "error",
        "ok",
    ]


def test_a_zip_is_the_same_every_time(client: CheckedClient) -> None:
    def pictures() -> list[bytes]:
        response = ask(client, THREE, accept="application/zip")
        with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
            return [archive.read(name) for name in archive.namelist()[1:]]

    assert pictures() == pictures()


# Failures of one, failures of all.


def test_one_failure_is_that_variants_own(client: CheckedClient) -> None:
    response = ask(client, MIXED)
    made = entries(response)
    assert [one["status"] for one in made.values()] == ["ok", "error", "error", "error", "ok"]
    problems = {name: one["error"] for name, one in made.items() if one["status"] == "error"}
    assert {name: (one["status"], one["type"]) for name, one in problems.items()} == {
        "wrong": (400, "/problems/invalid-parameters"),
        "contradicting": (422, "/problems/contradictory-options"),
        "too-small": (422, "/problems/limit-exceeded"),
    }
    for problem in problems.values():
        assert set(problem) == PROBLEM_KEYS
        assert problem["instance"] == response.headers["x-request-id"]
    assert problems["wrong"]["errors"][0]["name"] == "widht"
    measures = ("width", "height", "format", "bytes", "etag", "crop")
    for name in problems:
        assert {made[name][measure] for measure in measures} == {None}
        assert set(made["good"]) - set(made[name]) == {"data"}


@pytest.mark.parametrize("accept", ["application/json", "multipart/mixed", "application/zip"])
def test_all_failed(client: CheckedClient, accept: str) -> None:
    response = ask(client, MIXED[1:4], accept=accept)
    assert_problem(
        response, 422, "all-variants-failed", "wrong", "contradicting", "too-small", says="3"
    )


def test_the_only_one_failed(client: CheckedClient) -> None:
    assert_problem(ask(client, MIXED[1:2]), 422, "all-variants-failed", "wrong", says="width")


def test_a_result_that_cannot_be_written_fails_alone(client: CheckedClient) -> None:
    variants = [{"name": "too-wide", "format": "webp"}, {"name": "fine", "width": 20}]
    made = entries(ask(client, variants, data=encode(noise(17_000, 2))))
    assert [one["status"] for one in made.values()] == ["error", "ok"]


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("svg_logo", 415, "unsupported-format"),
        ("truncated_640x480", 422, "corrupt-image"),
        ("lottapixel_64250x64250", 422, "limit-exceeded"),
    ],
)
def test_a_bad_source_fails_as_a_whole(
    client: CheckedClient, name: str, status: int, code: str
) -> None:
    assert_problem(ask(client, THREE, data=corpus.read(name)), status, code)


def test_an_empty_body(client: CheckedClient) -> None:
    assert_problem(ask(client, THREE, data=b""), 400, "missing-image")


# What cannot be read.


@pytest.mark.parametrize(
    ("query", "name", "says"),
    [
        ({}, "platforms", "at least one"),
        ({"platforms": " , "}, "platforms", "at least one"),
        ({"variants": "[]"}, "platforms", "at least one"),
        ({"platforms": "instagram-pst"}, "platforms", "did you mean instagram-post?"),
        ({"platforms": "x-post,nonsense"}, "platforms", "'nonsense'"),
        ({"group": "sociable"}, "group", "social"),
        ({"group": ""}, "group", ""),
        ({"variants": "nonsense"}, "variants", "not JSON"),
        ({"variants": ""}, "variants", "not JSON"),
        ({"variants": "[" * 20_000}, "variants", "not JSON"),
        ({"variants": '{"name": "a"}'}, "variants", "list of objects"),
        ({"variants": "[1]"}, "variants", "list of objects"),
        ({"variants": "null"}, "variants", "list of objects"),
        ({"variants": '[{"name": "a"}, {"name": "a"}]'}, "variants", "'a'"),
        ({"variants": '[{"name": "x-post"}]', "platforms": "x-post"}, "variants", "'x-post'"),
        ({"variants": '[{"name": ""}]'}, "variants", "letters"),
        ({"variants": '[{"name": "../a"}]'}, "variants", "'../a'"),
        ({"variants": '[{"name": "a\\r\\nb"}]'}, "variants", "letters"),
        ({"variants": '[{"name": "a\\""}]'}, "variants", "letters"),
        ({"variants": '[{"name": 5}]'}, "variants", "letters"),
        ({"variants": json.dumps([{"name": "a" * 65}])}, "variants", "64"),
        ({"platforms": "x-post", "widht": "1"}, "widht", "did you mean width?"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_400(client: CheckedClient, query: dict[str, str], name: str, says: str) -> None:
    assert_problem(ask(client, **query), 400, "invalid-parameters", name, says=says)


def test_names_that_cannot_be_sent_back_are_no_fault_of_ours(client: CheckedClient) -> None:
    """JSON can name half of a surrogate pair, UTF-8 cannot."""
    response = ask(client, '[{"name": "a", "\\ud800": 1}, {"name": "b", "width": 9}]')
    assert [one["status"] for one in entries(response).values()] == ["error", "ok"]


def test_64_variants_are_made_and_65_are_not(client: CheckedClient) -> None:
    variants = [{"name": f"v{number}", "width": 1 + number} for number in range(65)]
    assert len(entries(ask(client, variants[:64]))) == 64
    assert_problem(ask(client, variants), 400, "invalid-parameters", "variants", says="65 variants")


def test_platforms_count_too(serve: Serve) -> None:
    client = serve(max_variants=2)
    small = {"width": "8", "height": "8"}
    assert len(entries(ask(client, THREE[:1], platforms="x-post", **small))) == 2
    response = ask(client, THREE[:2], platforms="x-post", **small)
    assert_problem(response, 400, "invalid-parameters", "variants", says="at most 2")
