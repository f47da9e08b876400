"""What the in-process tests of the HTTP face cannot show: real HAProxy, real replicas."""

import concurrent.futures
import contextlib
import http.client
import io
import json
import urllib.parse
import urllib.request
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from omnishot_ray.cache.config import CacheConfig
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import parse_options
from omnishot_ray.imaging.pipeline import process
from omnishot_ray.serving.parcels import LEAST_BYTES
from tests.integration.service import ROOT, Service
from tests.pictures import encode, noise

DATA = ROOT / "tests" / "data"
PHOTO = (DATA / "photo_sharp_benchmark_2725x2225.jpg").read_bytes()
SMALL = (DATA / "valid" / "photo_flower_480x360.jpg").read_bytes()
FOUR = "instagram-post,facebook-post,x-post,pinterest-pin"


def post(service: Service, path: str, body: bytes, **headers: str):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)) as connection:
        connection.request("POST", path, body, {"Content-Type": "image/jpeg", **names})
        answer = connection.getresponse()
        return answer, answer.read()


def size_of(content: bytes, plugin: str = "JPEG") -> tuple[int, int]:
    return Image.open(io.BytesIO(content), formats=[plugin]).size


def test_inline_lane_answers_a_thumbnail(service: Service) -> None:
    answer, content = post(service, "/api/optimize?width=100", SMALL)
    assert answer.status == 200
    assert size_of(content) == (100, 75)


def test_an_answer_has_the_request_id_once(service: Service) -> None:
    answer, _ = post(service, "/api/optimize?width=101", SMALL, X_Request_Id="order-7")
    assert answer.headers.get_all("X-Request-Id") == ["order-7"]


def test_pool_lane_answers_a_platform(service: Service) -> None:
    answer, content = post(service, "/api/optimize?platform=instagram-post&gravity=center", PHOTO)
    assert answer.status == 200
    assert size_of(content) == (1080, 1080)
    assert answer.headers["X-OmniShot-Crop"] == "250,0,2225,2225"
    durations = dict(part.split(";dur=") for part in answer.headers["Server-Timing"].split(", "))
    assert set(durations) == {"queue", "decode", "transform", "encode", "cache"}
    assert float(durations["encode"]) > 0


@pytest.mark.parametrize(
    ("photo", "wanted"),
    [(SMALL, {"width": "100"}), (PHOTO, {"width": "1000", "format": "webp"})],
    ids=["inline", "pool"],
)
def test_both_lanes_give_the_bytes_of_the_engine(service: Service, photo, wanted) -> None:
    answer, content = post(service, f"/api/optimize?{urllib.parse.urlencode(wanted)}", photo)
    assert answer.status == 200
    alone = process(photo, [parse_options(wanted)], Limits())
    assert content == alone.renditions[0].data


def test_a_large_original_goes_to_a_replica_and_leaves_no_file(service: Service) -> None:
    large = encode(noise(1800, 1700), "PNG", compress_level=0)
    assert len(large) > LEAST_BYTES
    answer, content = post(service, "/api/optimize?width=900&format=webp", large)
    assert answer.status == 200
    assert size_of(content, "WEBP") == (900, 850)
    assert list(Path(CacheConfig().node_dir, "parcels").iterdir()) == []


def test_variants_as_zip(service: Service) -> None:
    answer, content = post(
        service, f"/api/variants?platforms={FOUR}", PHOTO, accept="application/zip"
    )
    assert answer.status == 200
    archive = zipfile.ZipFile(io.BytesIO(content))
    manifest = json.loads(archive.read("manifest.json"))
    assert [variant["file"] for variant in manifest["variants"]] == [
        f"{name}.jpg" for name in FOUR.split(",")
    ]
    for variant in manifest["variants"]:
        assert size_of(archive.read(variant["file"])) == (variant["width"], variant["height"])


def test_request_id_is_sent_once(service: Service) -> None:
    for path in ("/api/optimize?width=50", "/api/optimize?widht=50"):
        answer, _ = post(service, path, SMALL, X_Request_Id="my-id-1")
        assert answer.headers.get_all("X-Request-Id") == ["my-id-1"]


def test_not_modified_before_any_work(service: Service) -> None:
    answer, _ = post(service, "/api/optimize?width=50", SMALL)
    again, content = post(
        service, "/api/optimize?width=50", SMALL, If_None_Match=answer.headers["ETag"]
    )
    assert (again.status, content) == (304, b"")


def test_body_of_40_mb_is_refused_by_its_declared_length(service: Service) -> None:
    answer, content = post(service, "/api/optimize?width=50", bytes(40_000_000))
    assert answer.status == 413
    assert json.loads(content)["type"] == "/problems/body-too-large"


def test_body_of_40_mb_is_refused_while_reading(service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    chunks = (bytes(1_000_000) for _ in range(40))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # answered before its end
        connection.request("POST", "/api/optimize?width=50", chunks, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 413
    connection.close()
    assert post(service, "/api/optimize?width=50", SMALL)[0].status == 200


@pytest.mark.parametrize("path", sorted((DATA / "hostile").iterdir()), ids=lambda path: path.name)
def test_hostile_file_harms_nobody_else(service: Service, path) -> None:
    answer, content = post(service, "/api/optimize?platform=instagram-post", path.read_bytes())
    assert answer.status in (200, 400, 415, 422)
    if answer.status != 200:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert json.loads(content)["status"] == answer.status
    assert post(service, "/api/optimize?width=64", SMALL)[0].status == 200


def test_many_clients_at_once(service: Service) -> None:
    with concurrent.futures.ThreadPoolExecutor(12) as clients:
        paths = ["/api/optimize?width=64", f"/api/variants?platforms={FOUR}&effort=1"] * 20
        answers = list(clients.map(lambda path: post(service, path, SMALL), paths))
    assert [answer.status for answer, _ in answers] == [200] * len(paths)


@pytest.mark.parametrize("path", ["/health", "/ready", "/api/platforms", "/openapi.json", "/docs"])
def test_get(service: Service, path: str) -> None:
    with urllib.request.urlopen(f"{service.url}{path}", timeout=10) as answer:
        assert answer.status == 200
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_ready_line_names_url_and_a_curl_that_works(service: Service) -> None:
    output = service.output()
    assert f"ready at {service.url}" in output
    curl = next(line for line in output.splitlines() if line.strip().startswith("curl "))
    assert "tests/data/photo_tomatoes_2912x4368.jpg" in curl
    assert f"{service.url}/api/optimize?platform=instagram-post" in curl
