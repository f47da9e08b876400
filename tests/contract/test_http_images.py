"""`POST /api/optimize`: one image in, one image out."""

import re
from typing import Any

import pytest

from omnishot_ray.imaging.formats import OUTPUT_FORMATS
from tests import corpus
from tests.contract.checks import CheckedClient, assert_problem, said
from tests.pictures import encode, noise, opened, png, scene

JPEG = encode(scene(120, 80), "JPEG")
ALPHA = png(40, 30, "RGBA", (200, 30, 30, 90))
STEPS = ("queue", "decode", "transform", "encode", "cache")
BOUNDARY = "multipart/form-data; boundary=x"


def form(*parts: tuple[str, bytes]) -> bytes:
    """A multipart body written out, for forms that no client library would send."""
    body = b"".join(
        b"--x\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + data + b"\r\n"
        for head, data in parts
    )
    return body + b"--x--\r\n"


# What may be sent.


@pytest.mark.parametrize(
    "content_type",
    ["image/jpeg", "image/png", "image/anything", "application/octet-stream", "IMAGE/JPEG", None],
)
def test_the_picture_may_be_the_body(client: CheckedClient, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = client.post("/api/optimize?width=60", content=JPEG, headers=headers)
    assert response.status_code == 200
    assert opened(response.content).size == (60, 40)


@pytest.mark.parametrize(
    "body",
    [
        form(('name="file"', JPEG), ('name="width"', b"60")),
        form(('name="file"\r\nContent-Type: image/jpeg', JPEG), ('name="width"', b"60")),
        form(("name=\"file\"; filename*=UTF-8''a.jpg", JPEG), ('name="width"', b"60")),
        form(('name="width"; filename="w.txt"', b"60"), ('name="file"; filename="a"', JPEG)),
        form(('name="width"; filename=""', b"60"), ('\r\n name="file"', JPEG)),
        b"A preamble,\r\nof lines.\r\n" + form(('name="file"', JPEG), ('name="width"', b"60")),
        b"\r\n" + form(('name="file"', JPEG), ('name="width"', b"60")) + b"An epilogue.\r\n--x",
        form(('name="file"', JPEG), ('name="width"', b"60")).replace(b"--x\r", b"--x \t\r"),
        form(('name="file"', JPEG), ('name="width"', b"60"))[:-2],
    ],
    ids=[
        *("no file's name", "a type alone", "filename*", "an option as a file", "a folded head"),
        *("preamble", "epilogue", "padding", "no line's end at the end"),
    ],
)
def test_forms_as_rfc_7578_has_them(client: CheckedClient, body: bytes) -> None:
    response = client.post("/api/optimize", content=body, headers={"Content-Type": BOUNDARY})
    assert response.status_code == 200, said(response)
    assert opened(response.content).size == (60, 40)


def test_the_picture_may_be_part_of_a_form(client: CheckedClient) -> None:
    response = client.post("/api/optimize?width=60", files={"file": ("any name.txt", JPEG)})
    assert response.status_code == 200
    assert opened(response.content).size == (60, 40)


def test_options_may_be_fields_of_the_form(client: CheckedClient) -> None:
    fields = {"width": "60", "height": "60", "fit": "contain", "format": "png"}
    response = client.post("/api/optimize", files={"file": JPEG}, data=fields)
    assert response.headers["x-omnishot-result"].startswith("60x60;png;")


def test_the_address_overrides_the_form(client: CheckedClient) -> None:
    response = client.post("/api/optimize?width=30", files={"file": JPEG}, data={"width": "60"})
    assert response.headers["x-omnishot-result"].startswith("30x20;")


def test_options_of_the_address_and_of_the_form_belong_together(client: CheckedClient) -> None:
    """Neither is judged without the other: `dpr` alone would contradict itself."""
    response = client.post("/api/optimize?dpr=2", files={"file": JPEG}, data={"width": "30"})
    assert response.status_code == 200, said(response)
    assert response.headers["x-omnishot-result"].startswith("60x40;")


# What comes back.


def test_the_headers_of_an_answer(client: CheckedClient) -> None:
    response = client.post(
        "/api/optimize?width=40&height=40&format=webp&gravity=center", content=JPEG
    )
    headers = response.headers
    assert headers["content-type"] == "image/webp"
    assert re.fullmatch(r'"[0-9a-f]{32}-[0-9a-f]{16}"', headers["etag"])
    assert headers["cache-control"] == "public, max-age=86400"
    assert headers["vary"] == "Accept"
    assert headers["x-omnishot-source"] == f"120x80;jpeg;{len(JPEG)}"
    assert headers["x-omnishot-result"] == f"40x40;webp;{len(response.content)}"
    assert headers["x-omnishot-crop"] == "20,0,80,80"
    assert headers["x-cache"] == "miss"
    number = r"\d+(\.\d+)?"
    steps = [f"{step};dur={number}" for step in STEPS]
    assert re.fullmatch(", ".join(steps), headers["server-timing"])


@pytest.mark.parametrize("gravity", ["", "&gravity=attention", "&gravity=face"])
def test_what_placed_the_crop_is_told(client: CheckedClient, gravity: str) -> None:
    response = client.post(f"/api/optimize?width=40&height=40{gravity}", content=JPEG)
    assert response.headers["x-omnishot-gravity"] == "attention"  # there is no face
    x, y, width, height = map(int, response.headers["x-omnishot-crop"].split(","))
    assert 0 <= x <= 40
    assert (y, width, height) == (0, 80, 80)
    told = client.post("/api/optimize?width=40&height=40&gravity=west", content=JPEG).headers
    assert "x-omnishot-gravity" not in told


def test_no_crop_no_header(client: CheckedClient) -> None:
    assert "x-omnishot-crop" not in client.post("/api/optimize?width=40", content=JPEG).headers


def test_source_and_crop_are_told_upright(client: CheckedClient) -> None:
    data = corpus.read("exif_landscape_orientation_6")
    query = "width=60&height=60&gravity=east&rotate=90"
    headers = client.post(f"/api/optimize?{query}", content=data).headers
    assert headers["x-omnishot-source"] == f"1800x1200;jpeg;{len(data)}"
    # Turned clockwise the picture is 1200 × 1800, its middle 1200 × 1200 stays.
    assert headers["x-omnishot-crop"] == "300,0,1200,1200"


@pytest.mark.parametrize("format", OUTPUT_FORMATS)
def test_every_format_is_named_and_is_what_it_is_named(client: CheckedClient, format: Any) -> None:
    response = client.post(f"/api/optimize?width=20&format={format.value}", content=JPEG)
    assert response.headers["content-type"] == f"image/{format.value}"
    assert opened(response.content).format == format.plugin


@pytest.mark.parametrize(
    ("query", "result"),
    [
        ("", "120x80;jpeg"),
        ("width=60", "60x40;jpeg"),
        ("height=20", "30x20;jpeg"),
        ("width=240", "120x80;jpeg"),
        ("width=240&enlarge=true", "240x160;jpeg"),
        ("width=60&height=60", "60x60;jpeg"),
        ("width=300&height=100", "120x40;jpeg"),
        ("width=300&height=100&enlarge=true", "300x100;jpeg"),
        ("width=60&height=60&fit=contain", "60x60;jpeg"),
        ("width=60&height=60&fit=inside", "60x40;jpeg"),
        ("width=60&height=60&fit=outside", "90x60;jpeg"),
        ("width=60&height=60&fit=fill", "60x60;jpeg"),
        ("width=30&dpr=1.5", "45x30;jpeg"),
        ("rotate=270", "80x120;jpeg"),
        ("rotate=90&width=40", "40x60;jpeg"),
        ("platform=github-preview", "1280x640;jpeg"),
        ("platform=github-preview&enlarge=false", "120x60;jpeg"),
        ("platform=web-640-avif", "120x80;avif"),
        ("platform=web-640-avif&format=png&width=30", "30x20;png"),
        ("format=source&background=%23fff", "120x80;jpeg"),
        ("grayscale=1&blur=2&sharpen=1&normalize=yes", "120x80;jpeg"),
        ("gravity=fp:0.1,0.9&width=10&height=10", "10x10;jpeg"),
    ],
)
def test_sizes_and_formats(client: CheckedClient, query: str, result: str) -> None:
    response = client.post(f"/api/optimize?{query}", content=JPEG)
    assert response.status_code == 200, said(response)
    assert response.headers["x-omnishot-result"] == f"{result};{len(response.content)}"
    width, height = result.partition(";")[0].split("x")
    assert opened(response.content).size == (int(width), int(height))


def test_max_bytes_is_kept(client: CheckedClient) -> None:
    data = encode(noise(200, 200), "JPEG", quality=95)
    response = client.post("/api/optimize?max_bytes=9000", content=data)
    assert response.status_code == 200
    assert len(response.content) <= 9000


# Asking again.


def test_not_modified(client: CheckedClient) -> None:
    first = client.post("/api/optimize?width=40", content=JPEG)
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}'):
        again = client.post(
            "/api/optimize?width=40", content=JPEG, headers={"If-None-Match": known}
        )
        assert again.status_code == 304
        assert again.content == b""
        for name in ("etag", "cache-control", "vary"):
            assert again.headers[name] == first.headers[name]


def test_a_tag_names_one_result(client: CheckedClient) -> None:
    def tag(query: str = "width=40", data: bytes = JPEG, accept: str = "*/*") -> str:
        headers = {"Accept": accept}
        answer = client.post(f"/api/optimize?{query}", content=data, headers=headers)
        return str(answer.headers["etag"])

    others = [tag("width=41"), tag(data=ALPHA), tag(accept="image/webp"), tag("width=40&effort=5")]
    assert len({tag(), *others}) == 5
    assert tag() == tag("width=40&enlarge=false") == tag("width=%2040")


def test_another_tag_is_answered_in_full(client: CheckedClient) -> None:
    headers = {"If-None-Match": '"0123456789abcdef0123456789abcdef"'}
    assert client.post("/api/optimize?width=40", content=JPEG, headers=headers).status_code == 200


@pytest.mark.parametrize(("name", "status"), [("svg_logo", 415), ("truncated_640x480", 422)])
def test_what_cannot_be_served_is_never_unmodified(
    client: CheckedClient, name: str, status: int
) -> None:
    """`*` asks whether there is any current answer (RFC 9110 §13.1.2): for these there is none."""
    headers = {"If-None-Match": "*"}
    response = client.post("/api/optimize", content=corpus.read(name), headers=headers)
    assert response.status_code == status


# What cannot be done.


@pytest.mark.parametrize(
    ("query", "names", "says"),
    [
        ("width=0", ["width"], "1 to 8192"),
        ("width=8193", ["width"], "8192"),
        ("width=ten", ["width"], "'ten'"),
        ("widht=10", ["widht"], "did you mean width?"),
        ("fit=crop", ["fit"], "cover"),
        ("format=tiff", ["format"], "webp"),
        ("width=0&fit=crop", ["width", "fit"], "fit"),
        ("width=1&width=2", ["width"], "more than once"),
        ("platform=instagram", ["platform"], "did you mean instagram-post?"),
        ("rotate=45", ["rotate"], "270"),
        ("gravity=fp:2,2", ["gravity"], "fp:0.3,0.7"),
        ("background=reddish", ["background"], "ffffff"),
        ("name=x", ["name"], "unknown"),
        ("%00=1", ["\x00"], "unknown"),
        ("%ff=1", ["\ufffd"], "unknown"),
    ],
)
def test_400_for_parameters(client: CheckedClient, query: str, names: list[str], says: str) -> None:
    response = client.post(f"/api/optimize?{query}", content=JPEG)
    assert_problem(response, 400, "invalid-parameters", *names, says=says)


def test_400_for_fields_of_a_form(client: CheckedClient) -> None:
    response = client.post("/api/optimize", files={"file": JPEG}, data={"widht": "5"})
    assert_problem(response, 400, "invalid-parameters", "widht")


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"", "image/jpeg", "missing-image"),
        (b"", BOUNDARY, "missing-image"),
        (form(('name="other"; filename="a.jpg"', JPEG)), BOUNDARY, "missing-image"),
        (form(('name="file"; filename="a.jpg"', b"")), BOUNDARY, "missing-image"),
        (form(('name="file"; filename="a"', JPEG)), "multipart/form-data", "invalid-parameters"),
        (b"no form at all", BOUNDARY, "invalid-parameters"),
        (form(("", JPEG)), BOUNDARY, "invalid-parameters"),
        (form(*[(f'name="{n}"', b"5") for n in range(102)]), BOUNDARY, "invalid-parameters"),
        (form(('name="file"\r\nX: ' + "x" * 5000, JPEG)), BOUNDARY, "invalid-parameters"),
        (form(('name="file"', JPEG)).replace(b"--x--", b"--xy"), BOUNDARY, "invalid-parameters"),
    ],
    ids=[
        "empty",
        "empty form",
        "no file",
        "empty file",
        "no boundary",
        "no form",
        "nameless part",
        "too many fields",
        "a head too long",
        "another boundary",
    ],
)
def test_400_for_bodies(client: CheckedClient, body: bytes, content_type: str, code: str) -> None:
    response = client.post("/api/optimize", content=body, headers={"Content-Type": content_type})
    assert_problem(response, 400, code)


@pytest.mark.parametrize("cut", range(3, 75, 4))
def test_400_for_a_form_that_is_cut_off(client: CheckedClient, cut: int) -> None:
    """What is missing may be an option: the picture would come out as nobody asked for."""
    body = form(('name="file"; filename="a"', JPEG), ('name="width"', b"100"))[:-cut]
    response = client.post("/api/optimize", content=body, headers={"Content-Type": BOUNDARY})
    assert_problem(response, 400, "invalid-parameters")


@pytest.mark.parametrize(
    ("parts", "name", "says"),
    [
        ([('name="width"', b"5"), ('name="width"', b"6")], "width", "more than once"),
        ([('name="file"; filename="b"', JPEG)], "file", "more than once"),
        ([('name="width"; filename="a"', b"5" * 300_000)], "width", "262144"),
        ([('filename="; name=width"; name="hei\\"ght"', b"5")], 'hei"ght', "unknown"),
    ],
)
def test_400_for_a_part_that_is_wrong(
    client: CheckedClient, parts: list[tuple[str, bytes]], name: str, says: str
) -> None:
    body = form(('name="file"; filename="a"', JPEG), *parts)
    response = client.post("/api/optimize", content=body, headers={"Content-Type": BOUNDARY})
    assert_problem(response, 400, "invalid-parameters", name, says=says)


@pytest.mark.parametrize("content_type", ["text/plain", "text/html", "application/pdf", "nonsense"])
def test_415_for_a_body_that_carries_no_picture(client: CheckedClient, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    response = client.post("/api/optimize", content=JPEG, headers=headers)
    assert_problem(response, 415, "unsupported-body", says=content_type)


@pytest.mark.parametrize(
    "name", ["svg_logo", "heif_smallest", "html_named", "pdf_named", "eps_named"]
)
@pytest.mark.parametrize("as_form", [True, False])
def test_415_for_other_kinds_whatever_they_are_called(
    client: CheckedClient, name: str, as_form: bool
) -> None:
    data = corpus.read(name)
    upload: dict[str, Any] = {"files": {"file": ("photo.jpg", data, "image/jpeg")}}
    if not as_form:
        upload = {"content": data, "headers": {"Content-Type": "image/jpeg"}}
    assert_problem(client.post("/api/optimize", **upload), 415, "unsupported-format", says="JPEG")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("truncated_2725x2225_first_10k", "corrupt-image"),
        ("png_iccp_60MB_bomb", "corrupt-image"),
        ("gif_infinite_loop_CVE-2018-5711", "corrupt-image"),
        ("png_header_9000x9000_no_data", "limit-exceeded"),
        ("bomb_gif_4000x4000_3000frames", "limit-exceeded"),
        ("bomb_jpeg_progressive_4000x4000_4000scans", "limit-exceeded"),
    ],
)
def test_422_for_pictures(client: CheckedClient, name: str, code: str) -> None:
    assert_problem(client.post("/api/optimize", content=corpus.read(name)), 422, code)


@pytest.mark.parametrize("query", ["lossless=1&format=jpeg", "dpr=2", "dpr=4&width=8000"])
def test_422_for_options_that_contradict(client: CheckedClient, query: str) -> None:
    response = client.post(f"/api/optimize?{query}", content=JPEG)
    assert_problem(response, 422, "contradictory-options", says=query.partition("=")[0])


@pytest.mark.parametrize(
    ("source", "query"),
    [
        ((120, 80), "max_bytes=100"),
        ((10, 1000), "width=100&enlarge=true"),  # 100 × 10 000
        ((9000, 2), ""),
        ((17_000, 2), "format=webp"),
    ],
)
def test_422_for_results_over_a_limit(
    client: CheckedClient, source: tuple[int, int], query: str
) -> None:
    """At most 8192 pixels a side go out, also where the side was left out."""
    data = encode(noise(*source))
    assert_problem(client.post(f"/api/optimize?{query}", content=data), 422, "limit-exceeded")


@pytest.mark.parametrize("metadata", ["strip", "copyright", "keep"])
def test_metadata_can_be_chosen(client: CheckedClient, metadata: str) -> None:
    data = corpus.read("photo_flower_480x360")
    response = client.post(f"/api/optimize?width=50&metadata={metadata}", content=data)
    assert response.status_code == 200, said(response)
