"""`animated`: what moves over HTTP, and what does not."""

import base64

import numpy as np
import pytest

from tests import corpus
from tests.contract.checks import CheckedClient, assert_problem
from tests.contract.test_http_negotiation import CHROME
from tests.moving import PngPatch, apng, watched
from tests.pictures import opened, plain

GIF = corpus.read("gif_animated_loop3_370x285")
SQUARES = corpus.read("webp_animated_squares_80x80")


@pytest.mark.parametrize(
    ("query", "accept", "format", "frames"),
    [
        ("", "", "webp", 10),
        ("", "*/*", "webp", 10),
        ("", CHROME, "webp", 10),
        ("", "image/avif", "webp", 10),
        ("animated=true", "*/*", "webp", 10),
        ("format=gif", CHROME, "gif", 10),
        ("format=source", CHROME, "gif", 10),
        ("format=webp", "", "webp", 10),
        ("format=jpeg", "", "jpeg", 1),
        ("animated=false", "", "jpeg", 1),
        ("animated=false", CHROME, "avif", 1),
        ("animated=false&format=gif", "", "gif", 1),
        ("platform=instagram-post", CHROME, "jpeg", 1),
    ],
)
def test_what_moves(
    client: CheckedClient, query: str, accept: str, format: str, frames: int
) -> None:
    address = f"/api/optimize?width=100&{query}"
    response = client.post(address, content=GIF, headers={"Accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"] == f"image/{format}"
    assert response.headers["vary"] == "Accept"
    width, height = opened(response.content).size
    result = f"{width}x{height};{format};{len(response.content)}"
    assert response.headers["x-omnishot-result"] == result
    assert getattr(opened(response.content), "n_frames", 1) == frames


def test_a_moving_answer_keeps_times_and_showings(client: CheckedClient) -> None:
    answered = client.post("/api/optimize?width=40&format=gif", content=SQUARES)
    source, made = watched(SQUARES), watched(answered.content)
    assert made.durations == source.durations
    assert made.loop == source.loop == 0


def test_still_and_moving_have_tags_of_their_own(client: CheckedClient) -> None:
    queries = ("", "?animated=true", "?animated=false")
    tags = [
        client.post(f"/api/optimize{query}", content=SQUARES).headers["etag"] for query in queries
    ]
    assert len(set(tags)) == 3


@pytest.mark.parametrize("format", ["jpeg", "png", "avif"])
def test_422_for_a_format_that_cannot_move(client: CheckedClient, format: str) -> None:
    response = client.post(f"/api/optimize?animated=true&format={format}", content=GIF)
    assert_problem(response, 422, "contradictory-options")
    assert "webp or gif" in response.json()["detail"]


def test_422_for_a_source_whose_format_is_written_still(client: CheckedClient) -> None:
    data = corpus.read("avif_animated_colors_150x150")
    response = client.post("/api/optimize?animated=true&format=source", content=data)
    assert_problem(response, 422, "contradictory-options")


def test_422_for_more_frames_than_are_accepted(client: CheckedClient) -> None:
    image = plain(4, 4, "RGBA", "red")
    data = apng(4, 4, [PngPatch(np.asarray(image))] * 2, claimed=2_000_000_000)
    assert client.post("/api/optimize", content=data).headers["content-type"] == "image/jpeg"
    response = client.post("/api/optimize?animated=true", content=data)
    assert_problem(response, 422, "limit-exceeded")
    assert "64 frames" in response.json()["detail"]


def test_moving_and_still_variants_of_one_source(client: CheckedClient) -> None:
    wanted = (
        '[{"name": "gif", "format": "gif", "width": 60}, {"name": "jpeg", "format": "jpeg"},'
        ' {"name": "webp", "format": "webp", "width": 40, "height": 40},'
        ' {"name": "wrong", "format": "png", "animated": true},'
        ' {"name": "first", "format": "webp", "animated": false}]'
    )
    response = client.post("/api/variants", params={"variants": wanted}, content=SQUARES)
    variants = {one["name"]: one for one in response.json()["variants"]}
    assert list(variants) == ["gif", "jpeg", "webp", "wrong", "first"]
    assert variants["wrong"]["status"] == "error"
    assert variants["wrong"]["error"]["type"] == "/problems/contradictory-options"
    frames = {
        name: getattr(opened(base64.b64decode(one["data"])), "n_frames", 1)
        for name, one in variants.items()
        if one["status"] == "ok"
    }
    assert frames == {"gif": 9, "jpeg": 1, "webp": 9, "first": 1}
