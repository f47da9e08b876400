"""The files of the live page: what is sent, how it is kept, and who may have it."""

import html
import json
import re
from base64 import urlsafe_b64encode
from importlib.resources import files
from pathlib import Path

import pytest
from starlette.websockets import WebSocketDisconnect

from omnishot_ray import __version__
from omnishot_ray.api.keys import offered_key
from omnishot_ray.metrics.local import LocalMetrics
from tests.contract.checks import CheckedClient, assert_problem
from tests.contract.conftest import Serve
from tests.contract.metered import watched

PAGE = Path(str(files("omnishot_ray.api"))) / "page"
PARTS = sorted(item.name for item in PAGE.iterdir() if item.name != "index.html")
KEYS = ("shop:s3cret-of-the-shop",)


def protocol_of(key: str) -> str:
    return "omnishot.key." + urlsafe_b64encode(key.encode()).decode().rstrip("=")


def test_the_page_may_run_its_own_files_and_nothing_else(client: CheckedClient) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(
        part.strip().split(" ", 1)
        for part in response.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["img-src"] == "'self' blob: data:"
    assert policy["frame-ancestors"] == "'none'"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cross-origin-opener-policy"] == "same-origin"
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=", response.text)


def test_the_page_says_what_this_service_has(client: CheckedClient, serve: Serve) -> None:
    def said(page: str) -> dict[str, object]:
        (content,) = re.findall(r'name="omnishot:service" content="([^"]*)"', page)
        return json.loads(html.unescape(content))

    plain = said(client.get("/").text)
    assert plain["version"] == __version__
    assert plain["keys"] is False
    assert "/api/platforms" in plain["routes"]
    assert "/api/metrics/stream" not in plain["routes"]
    assert said(serve(keys=KEYS).get("/").text)["keys"] is True
    with watched(LocalMetrics()) as metered:
        assert "/api/metrics/stream" in said(metered.get("/").text)["routes"]


@pytest.mark.parametrize("path", ["", *(f"page/{name}" for name in PARTS)])
def test_what_a_browser_has_is_not_sent_again(client: CheckedClient, path: str) -> None:
    first = client.get(f"/{path}")
    assert first.status_code == 200
    assert first.headers["cache-control"] == "no-cache"
    for known in (first.headers["etag"], "*"):
        again = client.get(f"/{path}", headers={"If-None-Match": known})
        assert again.status_code == 304
        assert again.content == b""


def test_every_file_is_asked_for_and_is_there(client: CheckedClient) -> None:
    """Modules, styles, fonts and icons, by the names in which the files call each other."""
    named = set(re.findall(r'(?:href|src)="page/([^"]+)"', client.get("/").text))
    for name in PARTS:
        if name.endswith((".js", ".css")):
            text = client.get(f"/page/{name}").text
            named |= set(re.findall(r'from "\./([^"]+)"|url\("([^"]+)"\)', text))
    flat = {one for item in named for one in ((item,) if isinstance(item, str) else item) if one}
    assert flat == {name for name in PARTS if not name.endswith(".txt")}


def test_no_other_file_is_there(client: CheckedClient) -> None:
    for path in ("/page/index.html", "/page/../page.py", "/page/%2e%2e%2fpage.py", "/page/x"):
        assert_problem(client.get(path), 404, "not-found")


def test_the_page_is_open_and_its_figures_are_not(serve: Serve) -> None:
    client = serve(keys=KEYS)
    assert client.get("/").status_code == 200
    assert client.get("/page/main.js").status_code == 200
    assert_problem(client.get("/api/platforms"), 401, "key-missing")


def test_a_socket_is_opened_with_a_key_in_a_subprotocol(serve: Serve) -> None:
    client = serve(keys=KEYS)
    with pytest.raises(WebSocketDisconnect) as turned_away:
        client.websocket_connect("/x", ["omnishot", protocol_of("wrong")]).__enter__()
    assert turned_away.value.code == 1008
    # Let in, it meets the router, which has no such socket and closes with another code.
    with pytest.raises(WebSocketDisconnect) as let_in:
        client.websocket_connect("/x", ["omnishot", protocol_of("s3cret-of-the-shop")]).__enter__()
    assert let_in.value.code == 1000


@pytest.mark.parametrize(
    ("protocols", "key"),
    [
        ([], None),
        (["omnishot"], None),
        (["omnishot", "omnishot.key.YWJj"], b"abc"),
        (["omnishot.key.YWJjZA"], b"abcd"),
        (["omnishot.key.-_8"], b"\xfb\xff"),
        (["omnishot.key.Y"], None),
        (["omnishot.key.\u00e4"], None),
        (["omnishot.key."], b""),
    ],
)
def test_the_key_among_subprotocols(protocols: list[str], key: bytes | None) -> None:
    assert offered_key(protocols) == key
