"""`POST /api/info`: one image in, a document about it out."""

import asyncio
import json
import re
from typing import Any

import httpx2
import jsonschema
import pytest
from PIL import Image

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.api.openapi import INFO_DOCS, INFO_SCHEMA
from omnishot_ray.errors import EngineUnavailable, OmnishotError
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.protocol import Made, Task
from tests import corpus
from tests.contract.checks import CheckedClient, assert_problem, said
from tests.contract.conftest import Serve
from tests.corpus import HOSTILE, REFUSED, VALID, Picture
from tests.pictures import encode, exif_entry, noise, plain, png, scene

JPEG = encode(scene(120, 80), "JPEG")


def document(client: CheckedClient, data: bytes) -> dict[str, Any]:
    response = client.post("/api/info", content=data)
    assert response.status_code == 200, said(response)
    told: dict[str, Any] = json.loads(response.content, parse_constant=pytest.fail)
    jsonschema.validate(told, INFO_SCHEMA)
    return told


# The corpus.


@pytest.mark.parametrize("picture", VALID, ids=lambda picture: picture.file)
def test_every_picture_is_described(client: CheckedClient, picture: Picture) -> None:
    told = document(client, picture.data)
    assert told["format"] == picture.format
    assert told["bytes"] == len(picture.data)
    assert {told["width"], told["height"]} == {picture.width, picture.height}
    assert told["palette"][0]["color"] == told["dominant_color"]


@pytest.mark.parametrize("picture", [*HOSTILE, *REFUSED], ids=lambda picture: picture.file)
def test_a_hostile_file_gets_the_problem_that_a_rendition_of_it_gets(
    client: CheckedClient, picture: Picture
) -> None:
    response = client.post("/api/info", content=picture.data)
    rendition = client.post("/api/optimize?width=64", content=picture.data)
    assert response.status_code == rendition.status_code, said(response)
    if response.status_code == 200:
        jsonschema.validate(response.json(), INFO_SCHEMA)
    else:
        problem, other = response.json(), rendition.json()
        assert {**problem, "instance": ""} == {**other, "instance": ""}


# What comes back.


def test_what_is_told_of_a_picture(client: CheckedClient) -> None:
    told = document(client, encode(plain(60, 40, color="#336699")))
    assert told == {
        "format": "png",
        "width": 60,
        "height": 40,
        "bytes": told["bytes"],
        "mode": "RGB",
        "orientation": 1,
        "frames": 1,
        "has_alpha": False,
        "icc_name": None,
        "exif": {},
        "dominant_color": "#336699",
        "palette": [{"color": "#336699", "share": 1.0}],
        "blurhash": told["blurhash"],
        "thumbhash": told["thumbhash"],
        "sharpness": 0.0,
        "entropy": 0.0,
    }


def test_the_example_of_the_document_is_one(client: CheckedClient) -> None:
    """It is of a picture of the corpus, its EXIF shortened."""
    example = INFO_DOCS["responses"][200]["content"]["application/json"]["example"]
    jsonschema.validate(example, INFO_SCHEMA)
    told = document(client, corpus.read("photo_flower_480x360"))
    assert example["exif"].items() <= told["exif"].items()
    for name in ("width", "height", "bytes", "mode", "blurhash"):
        assert example[name] == told[name], name
    assert example["sharpness"] == pytest.approx(told["sharpness"], rel=0.05)
    assert example["dominant_color"] == example["palette"][0]["color"]


def test_nothing_opaque_has_no_colour(client: CheckedClient) -> None:
    told = document(client, png(9, 9, "RGBA", (1, 2, 3, 0)))
    assert told["dominant_color"] is None
    assert told["palette"] == []
    assert told["has_alpha"] is True


def test_the_place_is_never_told(client: CheckedClient) -> None:
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    exif.get_ifd(0x8769)[0x829A] = 0.004
    exif.get_ifd(0x8825).update(
        {1: "N", 2: (48.0, 51.0, 29.625), 3: "E", 4: (2.0, 17.0, 40.125), 28: b"Champ de Mars"}
    )
    data = encode(scene(60, 40), "JPEG", exif=exif)
    assert b"Champ de Mars" in data
    response = client.post("/api/info", content=data)
    assert response.json()["exif"] == {"Make": "A maker", "ExposureTime": 0.004}
    for trace in ("GPS", "29.625", "40.125", "Champ"):
        assert trace not in response.text


@pytest.mark.parametrize(
    ("kind", "value"), [(5, b"\1\0\0\0\0\0\0\0"), (12, b"\0\0\0\0\0\0\xf8\x7f")]
)
def test_absurd_numbers_are_no_trouble(client: CheckedClient, kind: int, value: bytes) -> None:
    data = encode(scene(8, 8), "JPEG", exif=exif_entry(0x829A, kind, value))
    assert document(client, data)["exif"] == {}


def test_a_text_of_many_signs_stays_json(client: CheckedClient) -> None:
    text = 'quote " \\ and <script> \u00fc \U0001f600'
    exif = Image.Exif()
    exif[0x010E] = text.encode()
    told = document(client, encode(scene(8, 8), "JPEG", exif=exif))
    assert told["exif"] == {"ImageDescription": text}


def test_the_headers_of_an_answer(client: CheckedClient) -> None:
    headers = client.post("/api/info", content=JPEG).headers
    assert headers["content-type"] == "application/json"
    assert re.fullmatch(r'"[0-9a-f]{32}"', headers["etag"])
    assert headers["cache-control"] == "public, max-age=86400"
    assert headers["x-omnishot-source"] == f"120x80;jpeg;{len(JPEG)}"
    assert headers["x-cache"] == "miss"
    steps = re.findall(r"(\w+);dur=[\d.]+", headers["server-timing"])
    assert steps == ["queue", "decode", "transform", "encode", "cache"]


# Asking again.


def test_not_modified(client: CheckedClient) -> None:
    first = client.post("/api/info", content=JPEG)
    again = client.post("/api/info", content=JPEG, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["cache-control"] == first.headers["cache-control"]


def test_the_same_picture_has_the_same_document(client: CheckedClient) -> None:
    first = client.post("/api/info", content=JPEG)
    as_form = client.post("/api/info", files={"file": ("a name", JPEG)})
    assert as_form.headers["etag"] == first.headers["etag"]
    assert as_form.content == first.content


def test_a_tag_names_one_document(client: CheckedClient) -> None:
    tags = {
        client.post("/api/info", content=JPEG).headers["etag"],
        client.post("/api/info", content=png(3, 3)).headers["etag"],
        client.post("/api/optimize", content=JPEG).headers["etag"],
    }
    assert len(tags) == 3


# What cannot be done.


@pytest.mark.parametrize("query", ["width=10", "platform=x-post", "a=1&b=2"])
def test_400_for_options(client: CheckedClient, query: str) -> None:
    names = [pair.partition("=")[0] for pair in query.split("&")]
    response = client.post(f"/api/info?{query}", content=JPEG)
    assert_problem(response, 400, "invalid-parameters", *names, says="picture alone")
    response = client.post("/api/info", files={"file": JPEG}, data=dict.fromkeys(names, "1"))
    assert_problem(response, 400, "invalid-parameters", *names)


def test_400_without_a_picture(client: CheckedClient) -> None:
    assert_problem(client.post("/api/info"), 400, "missing-image")
    assert_problem(client.post("/api/info", files={"other": JPEG}), 400, "missing-image")


def test_413_for_a_body_too_large(serve: Serve) -> None:
    client = serve(max_body_bytes=1000)
    response = client.post("/api/info", content=encode(noise(40, 40)))
    assert_problem(response, 413, "body-too-large")


def test_415_for_a_body_that_carries_no_picture(client: CheckedClient) -> None:
    response = client.post("/api/info", content=JPEG, headers={"Content-Type": "text/plain"})
    assert_problem(response, 415, "unsupported-body")


def test_a_failing_engine_is_told(serve: Serve) -> None:
    class Broken:
        async def optimize(self, task: Task[Any]) -> OmnishotError:
            return EngineUnavailable("No replica runs.")

        async def check_ready(self) -> dict[str, str]:
            return {"engine": "broken"}

    response = serve(Broken()).post("/api/info", content=JPEG)
    assert_problem(response, 503, "engine-unavailable")
    assert response.headers["retry-after"]


@pytest.mark.anyio
async def test_the_same_description_at_once_is_one_execution() -> None:
    class Counting(LocalOptimizer):
        count = 0

        async def optimize(self, task: Task[Made]) -> Made | OmnishotError:
            self.count += 1
            return await super().optimize(task)

    optimizer = Counting(Limits())
    transport = httpx2.ASGITransport(create_app(optimizer, ApiConfig()))
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        asked = (client.post("/api/info", content=JPEG) for _ in range(20))
        answers = await asyncio.gather(*asked)
        assert optimizer.count == 1
        assert sorted(one.headers["x-cache"] for one in answers) == ["joined"] * 19 + ["miss"]
        assert len({one.content for one in answers}) == 1
        assert (await client.post("/api/info", content=JPEG)).headers["x-cache"] == "miss"
