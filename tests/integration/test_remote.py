"""Pictures by their address, in the real service."""

import json

import pytest

from tests.integration.pictures import PictureServer
from tests.integration.service import Service
from tests.integration.test_service import PHOTO, SMALL, post, size_of

JSON = "application/json"


def post_url(service: Service, path: str, url: str):
    body = json.dumps({"url": url}).encode()
    return post(service, path, body, Content_Type=JSON)


@pytest.mark.parametrize(
    ("name", "data"),
    [("valid/photo_flower_480x360.jpg", SMALL), ("photo_sharp_benchmark_2725x2225.jpg", PHOTO)],
)
def test_the_address_gives_what_the_bytes_give(
    service: Service, pictures: PictureServer, name: str, data: bytes
) -> None:
    path = "/api/optimize?platform=instagram-post"
    answer, content = post_url(service, path, f"{pictures.url}/{name}")
    assert answer.status == 200, content
    assert size_of(content) == (1080, 1080)
    assert content == post(service, path, data)[1]


@pytest.mark.parametrize(
    ("url", "status", "code"),
    [
        ("{pictures}/nothing.jpg", 502, "upstream-refused"),
        ("{pictures}/corpus.csv", 415, "unsupported-format"),
        ("{service}/health", 403, "address-refused"),
        ("http://localhost:8265/api/version", 403, "address-refused"),
        ("http://169.254.169.254/latest/meta-data/", 403, "address-refused"),
        ("http://[::ffff:127.0.0.1]/", 403, "address-refused"),
        ("file:///etc/passwd", 403, "address-refused"),
    ],
)
def test_what_cannot_be_had_is_told(
    service: Service, pictures: PictureServer, url: str, status: int, code: str
) -> None:
    wanted = url.format(pictures=pictures.url, service=service.url)
    answer, content = post_url(service, "/api/info", wanted)
    assert (answer.status, json.loads(content)["type"]) == (status, f"/problems/{code}")
