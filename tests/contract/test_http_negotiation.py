"""What `Accept` decides: the format of a rendition, the container of many."""

import pytest

from tests.contract.checks import CheckedClient
from tests.pictures import encode, png, scene

JPEG = encode(scene(24, 16), "JPEG")
ALPHA = png(24, 16, "RGBA", (10, 20, 30, 40))

CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
FIREFOX = "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"

FORMATS = [
    # what the client says, of an opaque picture, of one with alpha
    ("", "jpeg", "png"),
    ("*/*", "jpeg", "png"),
    ("image/*", "jpeg", "png"),
    ("text/html", "jpeg", "png"),
    ("image/jpeg", "jpeg", "png"),
    ("image/webp", "webp", "webp"),
    ("image/avif", "avif", "avif"),
    ("IMAGE/WebP", "webp", "webp"),
    (CHROME, "avif", "avif"),
    (FIREFOX, "avif", "avif"),
    ("image/webp,image/avif", "avif", "avif"),
    ("image/avif;q=0.5,image/webp;q=0.9", "webp", "webp"),
    ("image/avif;q=0,image/webp;q=0.1,*/*", "webp", "webp"),
    ("image/webp;q=0, */*", "jpeg", "png"),
    ("image/webp;q=0.0", "jpeg", "png"),
    ("image/webp ; q=0.5", "webp", "webp"),
    ("image/webp;level=1;q=0.5", "webp", "webp"),
    ("image/webp;q=nonsense", "jpeg", "png"),
    ("image/webp;q=nan", "jpeg", "png"),
    (",,;q=1,image/webp", "webp", "webp"),
]

CONTAINERS = [
    ("", "application/json"),
    ("*/*", "application/json"),
    ("application/*", "application/json"),
    ("text/html", "application/json"),
    ("application/json", "application/json"),
    ("multipart/mixed", "multipart/mixed"),
    ("multipart/*", "multipart/mixed"),
    ("application/zip", "application/zip"),
    ("application/zip, */*;q=0.1", "application/zip"),
    ("application/zip;q=0.4, application/json;q=0.5", "application/json"),
    ("application/zip;q=0.6, application/json;q=0.5", "application/zip"),
    ("application/zip;q=0, */*", "application/json"),
    ("application/json;q=0, application/zip;q=0, */*", "multipart/mixed"),
    ("Multipart/Mixed;q=1.0", "multipart/mixed"),
]


def optimized(client: CheckedClient, data: bytes, accept: str, query: str = "") -> str:
    response = client.post(f"/api/optimize{query}", content=data, headers={"Accept": accept})
    assert response.headers["vary"] == "Accept"
    return str(response.headers["content-type"]).removeprefix("image/")


@pytest.mark.parametrize(("accept", "opaque", "transparent"), FORMATS)
def test_the_format_of_a_rendition(
    client: CheckedClient, accept: str, opaque: str, transparent: str
) -> None:
    assert optimized(client, JPEG, accept) == opaque
    assert optimized(client, ALPHA, accept) == transparent


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "gif"])
def test_a_format_that_is_asked_for_is_given(client: CheckedClient, format: str) -> None:
    assert optimized(client, JPEG, CHROME, f"?format={format}") == format


def test_the_sources_format_can_be_asked_for(client: CheckedClient) -> None:
    assert optimized(client, ALPHA, CHROME, "?format=source") == "png"


@pytest.mark.parametrize(("accept", "container"), CONTAINERS)
def test_the_container_of_variants(client: CheckedClient, accept: str, container: str) -> None:
    headers = {"Accept": accept}
    response = client.post("/api/variants?platforms=pwa-icon-small", content=JPEG, headers=headers)
    assert response.headers["content-type"].partition(";")[0] == container
    assert response.headers["vary"].partition(",")[0] == "Accept"


def test_a_header_in_several_lines_is_one_list(client: CheckedClient) -> None:
    """RFC 9110 §5.3."""
    lines = [("Accept", "image/png"), ("Accept", "image/webp")]
    response = client.post("/api/optimize", content=JPEG, headers=lines)
    assert response.headers["content-type"] == "image/webp"
    tag = response.headers["etag"]
    lines += [("If-None-Match", '"other"'), ("If-None-Match", tag)]
    assert client.post("/api/optimize", content=JPEG, headers=lines).status_code == 304
