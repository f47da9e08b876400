"""Hostile input has an answer, and the next request has one too."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnishot_ray.imaging.option_table import OPTIONS
from tests.contract.checks import CheckedClient, said
from tests.corpus import HOSTILE, REFUSED, Picture
from tests.pictures import encode, opened, png, scene

JPEG = encode(scene(24, 16), "JPEG")


@pytest.mark.parametrize("picture", [*HOSTILE, *REFUSED], ids=lambda picture: picture.file)
def test_a_hostile_file_is_answered(client: CheckedClient, picture: Picture) -> None:
    response = client.post("/api/optimize?width=64", content=picture.data)
    assert response.status_code in {200, 400, 415, 422}, said(response)
    if response.status_code == 200:
        assert opened(response.content).width <= 64

    after = client.post("/api/optimize?width=8", content=JPEG)
    assert opened(after.content).size == (8, 5)


@pytest.mark.parametrize("picture", HOSTILE[:12], ids=lambda picture: picture.file)
def test_a_hostile_file_in_a_form_is_answered(client: CheckedClient, picture: Picture) -> None:
    response = client.post("/api/variants?platforms=pwa-icon-small", files={"file": picture.data})
    assert response.status_code in {200, 400, 415, 422}, said(response)


text = st.text(max_size=30)
numbers = st.integers(-10, 10_000).map(str)
values = (
    text | numbers | st.sampled_from(["true", "0", "webp", "cover", "x-post", "fp:0,1", "social"])
)
names = st.sampled_from([*OPTIONS, "variants", "platforms", "group", "file"]) | text
queries = st.dictionaries(names, values, max_size=5)


@settings(max_examples=80)
@given(
    path=st.sampled_from(
        ["/api/optimize", "/api/variants", "/api/info", "/api/platforms", "/problems/x"]
    ),
    query=queries,
    fields=st.none() | queries,
    body=st.binary(max_size=60) | st.sampled_from([JPEG, png(3, 3)]),
    headers=st.dictionaries(
        st.sampled_from(["Accept", "If-None-Match", "X-Request-Id", "Content-Type"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
        max_size=3,
    ),
)
def test_any_request_is_answered(
    client: CheckedClient,
    path: str,
    query: dict[str, str],
    fields: dict[str, str] | None,
    body: bytes,
    headers: dict[str, str],
) -> None:
    """No status of 500, and every problem in its shape."""
    if fields is None:
        response = client.post(path, params=query, content=body, headers=headers)
    else:
        headers.pop("Content-Type", None)
        response = client.post(
            path, params=query, data=fields, files={"file": body}, headers=headers
        )
    assert response.status_code in {200, 304, 400, 405, 415, 422}, said(response)
