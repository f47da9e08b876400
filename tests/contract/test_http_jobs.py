"""`/api/jobs` and what belongs to it, with a real store, real files and a real runner."""

import base64
import io
import json
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

import httpx2
import pytest
from PIL import Image

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.cache.config import CacheConfig
from omnishot_ray.cache.front import build_front
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.jobs.redis_store import RedisStore
from omnishot_ray.storage.blobs import Blobs
from tests.contract.checks import CheckedClient, assert_problem, said
from tests.jobbing import LocalEngine, Workshop
from tests.pictures import encode, scene
from tests.redis_server import RedisServer

PICTURE = encode(scene(60, 40), "JPEG")
OTHER = encode(scene(48, 48), "PNG")
TWO = [{"name": "small", "width": 20}, {"name": "tiny", "width": 10, "format": "webp"}]
DEADLINE_S = 30.0


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    shop = Workshop(tmp_path)
    yield shop
    shop.stores.store.close()


@pytest.fixture
def client(shop: Workshop) -> Iterator[CheckedClient]:
    with client_of(shop) as client:
        yield client


def client_of(shop: Workshop, **config: Any) -> CheckedClient:
    front = build_front(CacheConfig())
    app = create_app(LocalOptimizer(Limits()), ApiConfig(**config), front, jobs=shop.jobs)
    return CheckedClient(app)


def body(picture: bytes = PICTURE, **values: Any) -> dict[str, Any]:
    data = base64.b64encode(picture).decode()
    return {"source": {"data": data}, "variants": TWO, **values}


def submit(client: CheckedClient, status: int = 202, **values: Any) -> dict[str, Any]:
    answer = client.post("/api/jobs", json=body(**values))
    assert answer.status_code == status, said(answer)
    assert answer.headers["location"] == f"/api/jobs/{answer.json()['id']}"
    return dict(answer.json())


def wait(client: CheckedClient, path: str, *statuses: str) -> dict[str, Any]:
    deadline = monotonic() + DEADLINE_S
    while True:
        document = client.get(path).json()
        if document["status"] in statuses:
            return dict(document)
        assert monotonic() < deadline, document
        sleep(0.01)


def finished(client: CheckedClient, job_id: str) -> dict[str, Any]:
    return wait(client, f"/api/jobs/{job_id}", "completed", "failed", "dead", "cancelled")


def test_a_job_from_beginning_to_end(client: CheckedClient, shop: Workshop) -> None:
    job = submit(client, priority=3, user_id="u-1")
    assert (job["status"], job["progress"], job["attempts"]) == ("queued", 0, 0)
    assert [variant["status"] for variant in job["variants"]] == ["pending", "pending"]
    waiting = client.get(f"/api/jobs/{job['id']}")
    assert waiting.headers["cache-control"] == "no-cache"
    with shop.working():
        done = finished(client, job["id"])
    assert (done["status"], done["progress"], done["attempts"]) == ("completed", 100, 1)
    assert (done["priority"], done["user_id"], done["error"]) == (3, "u-1", None)
    assert done["source"] == {"width": 60, "height": 40, "format": "jpeg", "bytes": len(PICTURE)}
    assert done["created_at"] <= done["started_at"] <= done["finished_at"]
    answer = client.get(f"/api/jobs/{job['id']}")
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert_known(client, f"/api/jobs/{job['id']}", answer.headers["etag"])
    for variant, size in zip(done["variants"], [(20, 13), (10, 7)], strict=True):
        picture = client.get(variant["url"])
        assert picture.headers["content-type"] == f"image/{variant['format']}"
        assert picture.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert len(picture.content) == variant["bytes"]
        assert Image.open(io.BytesIO(picture.content)).size == size
        assert_known(client, variant["url"], variant["etag"])


def assert_known(client: CheckedClient, url: str, tag: str) -> None:
    """304 for the tag on whichever line, and for `*`: it is there (RFC 9110 §13.1.2)."""
    for values in ([tag], ['"other"', tag], [f'"other", W/{tag}'], ["*"]):
        lines = [("If-None-Match", value) for value in values]
        assert client.get(url, headers=lines).status_code == 304, values
    assert client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_form_does_the_same(client: CheckedClient) -> None:
    answer = client.post(
        "/api/jobs",
        files={"file": ("p.jpg", PICTURE, "image/jpeg")},
        data={"job": json.dumps({"variants": TWO})},
    )
    assert answer.status_code == 202, said(answer)
    assert submit(client, 200)["id"] == answer.json()["id"]


def test_an_empty_filter_is_none(client: CheckedClient) -> None:
    job = submit(client, user_id="u-1")
    found = client.get("/api/jobs?status=&user_id=&limit=&cursor=")
    assert found.status_code == 200, said(found)
    assert [one["id"] for one in found.json()["jobs"]] == [job["id"]]
    assert_problem(client.get("/api/jobs?state="), 400, "invalid-parameters", "state")


def test_the_job_may_be_a_file_of_the_form(client: CheckedClient) -> None:
    """And the picture none: curl's `-F job=@job.json`, or a part without a file's name."""
    job = json.dumps({"variants": TWO})
    files = {"file": (None, PICTURE), "job": ("job.json", job, "application/json")}
    answer = client.post("/api/jobs", files=files)
    assert answer.status_code == 202, said(answer)
    assert submit(client, 200)["id"] == answer.json()["id"]


def test_an_upload_is_a_source(client: CheckedClient) -> None:
    up = client.post("/api/uploads", content=PICTURE, headers={"Content-Type": "image/jpeg"})
    assert up.status_code == 201
    again = client.post("/api/uploads", files={"file": PICTURE})
    assert again.json() == up.json()
    given = {"source": {"upload": up.json()["id"]}, "platforms": ["instagram-post"]}
    assert client.post("/api/jobs", json=given).status_code == 202
    lost = client.post("/api/jobs", json={**given, "source": {"upload": "0" * 64}})
    assert_problem(lost, 400, "invalid-parameters", "upload")


class Server(ThreadingHTTPServer):
    """Serves a picture, and remembers what was posted to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posted: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/picture.jpg"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        self.send_response(status)
        self.send_header("Content-Length", str(len(PICTURE)))
        self.end_headers()
        self.wfile.write(PICTURE)

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        self.server.posted.append((dict(self.headers), self.rfile.read(size)))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


def test_an_address_is_fetched_and_tried_again(
    client: CheckedClient, shop: Workshop, server: Server
) -> None:
    shop.jobs.config = shop.config
    server.statuses = [503]
    given = {"source": {"url": server.url}, "variants": TWO}
    first, second = (client.post("/api/jobs", json=given) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 200)
    with shop.working():
        done = finished(client, first.json()["id"])
    assert (done["status"], done["attempts"]) == ("completed", 2)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "http://169.254.169.254/latest", "ftp://example.org/a"]
)
def test_an_address_that_may_not_be_asked_is_refused_at_once(
    client: CheckedClient, url: str
) -> None:
    answer = client.post("/api/jobs", json={"source": {"url": url}, "variants": TWO})
    assert answer.status_code in (400, 403), said(answer)


def test_the_end_is_told_signed_until_somebody_listens(
    client: CheckedClient, shop: Workshop, server: Server
) -> None:
    server.statuses = [500, 200]
    job = submit(client, callback_url=server.url)
    with shop.working():
        deadline = monotonic() + DEADLINE_S
        while len(server.posted) < 2:
            assert monotonic() < deadline, "no callback"
            sleep(0.01)
    (first, payload), (second, again) = server.posted
    document = json.loads(payload)
    assert (document["type"], document["data"]["id"]) == ("job.completed", job["id"])
    assert first["webhook-id"] == second["webhook-id"]
    assert json.loads(again)["timestamp"] == document["timestamp"]
    assert first["webhook-signature"].startswith("v1,")


def test_the_id_of_a_request_goes_with_its_job_to_the_engine_and_the_callback(
    client: CheckedClient, shop: Workshop, server: Server
) -> None:
    headers = {"X-Request-Id": "of-mine"}
    taken = client.post("/api/jobs", json=body(callback_url=server.url), headers=headers)
    assert taken.status_code == 202
    engine = LocalEngine()
    with shop.working(engine=engine):
        deadline = monotonic() + DEADLINE_S
        while not server.posted:
            assert monotonic() < deadline, "no callback"
            sleep(0.01)
    assert {task.request_id for task in engine.tasks} == {"of-mine"}
    assert server.posted[0][0]["X-Request-Id"] == "of-mine"


def test_outputs_are_written_where_a_job_wants_them(
    client: CheckedClient, shop: Workshop, tmp_path: Path
) -> None:
    root = (tmp_path / "out" / "mine").as_uri()
    job = submit(client, output=root)
    refused = client.post("/api/jobs", json=body(output="file:///etc/x"))
    assert_problem(refused, 403, "address-refused", "output")
    with shop.working():
        done = finished(client, job["id"])
    assert done["status"] == "completed", done
    assert [variant["output"] for variant in done["variants"]] == [
        f"{root}/small.jpg",
        f"{root}/tiny.webp",
    ]
    assert {path.name for path in (tmp_path / "out" / "mine").iterdir()} == {
        *("small.jpg", "tiny.webp")
    }


def test_a_corrupt_picture_fails_without_another_attempt(
    client: CheckedClient, shop: Workshop
) -> None:
    job = submit(client, picture=PICTURE[:200])
    with shop.working():
        done = finished(client, job["id"])
    assert (done["status"], done["attempts"]) == ("failed", 1)
    assert done["error"]["type"] == "/problems/corrupt-image"
    assert done["error"]["status"] == 422
    missing = client.get(f"/api/jobs/{job['id']}/results/small")
    assert_problem(missing, 404, "job-unknown")


def test_what_is_no_picture_is_not_taken_in(client: CheckedClient) -> None:
    answer = client.post("/api/jobs", json=body(b"just some text"))
    assert_problem(answer, 415, "unsupported-format")
    assert client.get("/api/jobs").json()["jobs"] == []


def test_dedupe_is_by_owner_content_and_options(client: CheckedClient, shop: Workshop) -> None:
    first = submit(client)
    assert submit(client, 200)["id"] == first["id"]
    assert submit(client, picture=OTHER)["id"] != first["id"]
    assert submit(client, variants=TWO[:1])["id"] != first["id"]
    with shop.working():
        finished(client, first["id"])
    assert submit(client, 200)["status"] == "completed"
    assert submit(client, dedupe=False)["id"] != first["id"]
    others = submit(client, user_id="somebody")
    assert (others["status"], others["attempts"]) == ("completed", 0)
    assert client.get(others["variants"][0]["url"]).status_code == 200


def test_what_a_cache_holds_completes_a_job_at_once(client: CheckedClient) -> None:
    variants = json.dumps(TWO)
    made = client.post("/api/variants", params={"variants": variants}, content=PICTURE)
    assert made.status_code == 200
    job = submit(client)
    assert (job["status"], job["progress"]) == ("completed", 100)
    data = base64.b64decode(made.json()["variants"][0]["data"])
    assert client.get(job["variants"][0]["url"]).content == data


def test_idempotency_key(client: CheckedClient) -> None:
    def send(key: str, **values: Any) -> httpx2.Response:
        headers = {"Idempotency-Key": key}
        return client.post("/api/jobs", json=body(dedupe=False, **values), headers=headers)

    first = send('"a"')
    assert first.status_code == 202
    again = send("a")
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert_problem(send("a", priority=1), 422, "idempotency-key-mismatch")
    assert send("b").json()["id"] != first.json()["id"]
    assert_problem(send("x" * 300), 400, "invalid-parameters", "Idempotency-Key")


def test_a_request_that_was_refused_may_be_mended_and_sent_with_its_key(
    client: CheckedClient,
) -> None:
    headers = {"Idempotency-Key": "k"}
    wrong = {"source": {"upload": "0" * 64}, "variants": TWO}
    assert client.post("/api/jobs", json=wrong, headers=headers).status_code == 400
    assert client.post("/api/jobs", json=body(), headers=headers).status_code == 202


def test_a_key_that_is_at_work_with_another_payload(
    client: CheckedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Idempotency-Key": "k"}
    arrived, go_on = threading.Event(), threading.Event()
    put = Blobs.put

    def slow_put(self: Blobs, data: bytes) -> str:
        arrived.set()
        assert go_on.wait(DEADLINE_S)
        return put(self, data)

    monkeypatch.setattr(Blobs, "put", slow_put)
    answers: list[httpx2.Response] = []
    thread = threading.Thread(
        target=lambda: answers.append(client.post("/api/jobs", json=body(), headers=headers))
    )
    thread.start()
    assert arrived.wait(DEADLINE_S)
    other = client.post("/api/jobs", json=body(OTHER), headers=headers)
    go_on.set()
    thread.join(DEADLINE_S)
    assert_problem(other, 409, "idempotency-key-in-flight")
    assert answers[0].status_code == 202


def test_cancel_and_retry(client: CheckedClient, shop: Workshop) -> None:
    job = submit(client)
    path = f"/api/jobs/{job['id']}"
    assert_problem(client.post(f"{path}/retry"), 409, "job-conflict", says="queued")
    assert client.delete(path).json()["status"] == "cancelled"
    assert client.delete(path).status_code == 200
    retried = client.post(f"{path}/retry")
    assert (retried.status_code, retried.json()["status"]) == (202, "queued")
    with shop.working():
        assert finished(client, job["id"])["status"] == "completed"
    assert_problem(client.delete(path), 409, "job-conflict", says="completed")
    assert_problem(client.post(f"{path}/retry"), 409, "job-conflict")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/retry"),
        ("GET", "/events"),
        ("GET", "/results/small"),
    ],
)
def test_no_such_job(client: CheckedClient, method: str, path: str) -> None:
    assert_problem(client.request(method, f"/api/jobs/{'0' * 32}{path}"), 404, "job-unknown")
    assert_problem(client.request(method, f"/api/jobs/nonsense{path}"), 404, "job-unknown")


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"priority": 0}, ["priority"]),
        ({"priority": "high", "dedupe": 1}, ["priority", "dedupe"]),
        ({"timeout_s": 1e9}, ["timeout_s"]),
        ({"max_attempts": True}, ["max_attempts"]),
        ({"user_id": "a b"}, ["user_id"]),
        ({"prioritty": 1}, ["prioritty"]),
        ({"source": None}, ["source"]),
        ({"source": {"url": "https://a.org", "data": "AAAA"}}, ["source"]),
        ({"source": {"data": "not base64!"}}, ["source"]),
        ({"platforms": "instagram-post"}, ["platforms"]),
        ({"variants": None}, ["platforms"]),
        ({"variants": [{"width": 0}]}, ["width"]),
    ],
)
def test_what_is_wrong_is_named(
    client: CheckedClient, changes: dict[str, Any], names: list[str]
) -> None:
    answer = client.post("/api/jobs", json=body(**changes))
    assert_problem(answer, 400, "invalid-parameters", *names)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"a"'])
def test_what_is_no_json_object(client: CheckedClient, content: bytes) -> None:
    answer = client.post("/api/jobs", content=content, headers={"Content-Type": "application/json"})
    assert_problem(answer, 400, "invalid-parameters")


def test_pages_of_jobs(client: CheckedClient) -> None:
    ids = [submit(client, dedupe=False, user_id="ab"[n % 2])["id"] for n in range(5)]
    client.delete(f"/api/jobs/{ids[0]}")
    listed: list[str] = []
    cursor = ""
    while cursor is not None:
        page = client.get(
            "/api/jobs", params={"limit": 2, **({"cursor": cursor} if cursor else {})}
        )
        listed += [job["id"] for job in page.json()["jobs"]]
        cursor = page.json()["next_cursor"]
    assert sorted(listed) == sorted(ids)
    assert listed == sorted(listed, reverse=True)

    def count(**query: str) -> int:
        return len(client.get("/api/jobs", params=query).json()["jobs"])

    assert (count(user_id="a"), count(status="cancelled"), count(status="queued,dead")) == (3, 1, 4)
    for query in ({"status": "lost"}, {"limit": "0"}, {"cursor": "x"}, {"page": "1"}):
        assert_problem(client.get("/api/jobs", params=query), 400, "invalid-parameters", *query)


def events_of(text: str) -> list[dict[str, str]]:
    return [
        dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        for block in text.strip().split("\n\n")
        if "data: " in block
    ]


def test_events_tell_progress_and_go_on_where_they_were_left(
    client: CheckedClient, shop: Workshop
) -> None:
    job = submit(client)
    path = f"/api/jobs/{job['id']}/events"
    with shop.working():
        answer = client.get(path)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "no-store" in answer.headers["cache-control"]
    assert "content-encoding" not in answer.headers, "who compresses waits for more to come"
    events = events_of(answer.text)
    assert events[-1]["event"] == "completed"
    assert json.loads(events[-1]["data"])["progress"] == 100
    numbers = [int(event["id"]) for event in events]
    assert numbers == sorted(set(numbers))
    later = client.get(path, headers={"Last-Event-ID": str(numbers[-1] - 1)})
    assert [event["id"] for event in events_of(later.text)] == [str(numbers[-1])]
    assert client.get(path, headers={"Last-Event-ID": str(numbers[-1])}).status_code == 204


def test_streams_are_bounded_in_time(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, stream_s=0.3)
    with client_of(shop) as client:
        path = f"/api/jobs/{submit(client)['id']}/events"
        assert [event["event"] for event in events_of(client.get(path).text)] == ["progress"]
    shop.stores.store.close()


def test_streams_are_bounded_in_number(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, max_streams=1)
    with client_of(shop) as client:
        path = f"/api/jobs/{submit(client)['id']}/events"
        answers: queue.Queue[httpx2.Response] = queue.Queue()
        listeners = [
            threading.Thread(target=lambda: answers.put(client.get(path))) for _ in range(2)
        ]
        for listener in listeners:
            listener.start()
        first = answers.get(timeout=DEADLINE_S)
        with shop.working():
            second = answers.get(timeout=DEADLINE_S)
        assert (first.status_code, second.status_code) == (429, 200)
        for listener in listeners:
            listener.join(DEADLINE_S)
    shop.stores.store.close()


def test_figures_of_the_queue(client: CheckedClient, shop: Workshop) -> None:
    done = submit(client)
    with shop.working():
        finished(client, done["id"])
        deadline = monotonic() + DEADLINE_S
        while not client.get("/api/queue/stats").json()["workers"]:
            assert monotonic() < deadline
    submit(client, picture=OTHER, priority=1)
    stats = client.get("/api/queue/stats").json()
    assert (stats["waiting"], stats["active"], stats["completed"], stats["dead"]) == (1, 0, 1, 0)
    assert stats["by_priority"]["1"]["waiting"] == 1
    assert stats["by_priority"]["5"]["completed"] == 1
    assert stats["rate_per_minute"] == 1
    assert stats["oldest_waiting_s"] >= 0
    assert stats["workers"][0]["slots"] == 2


def test_a_batch_from_beginning_to_end(client: CheckedClient, shop: Workshop) -> None:
    broken = base64.b64encode(PICTURE[:200]).decode()
    sources = [body(PICTURE + bytes([n]))["source"] for n in range(120)]
    sources[7] = {"data": broken}
    answer = client.post("/api/batches", json={"sources": sources, "variants": TWO[:1]})
    assert answer.status_code == 202, said(answer)
    batch = answer.json()
    assert answer.headers["location"] == f"/api/batches/{batch['id']}"
    assert (batch["total"], batch["progress"]) == (120, 0)
    with shop.working():
        done = wait(client, f"/api/batches/{batch['id']}", "completed")
    assert (done["progress"], done["completed"], done["failed"]) == (100, 119, 1)
    assert len(done["success"]) == 119
    (failure,) = done["failures"]
    assert failure["error"]["type"] == "/problems/corrupt-image"
    assert client.get(done["success"][0]["variants"][0]["url"]).status_code == 200


def test_a_batch_is_cancelled_whole(client: CheckedClient) -> None:
    sources = [body(PICTURE + bytes([n]))["source"] for n in range(130)]
    batch = client.post("/api/batches", json={"sources": sources, "variants": TWO}).json()
    ended = client.delete(f"/api/batches/{batch['id']}").json()
    assert (ended["status"], ended["cancelled"], ended["progress"]) == ("cancelled", 130, 100)
    assert client.get("/api/queue/stats").json()["waiting"] == 0


@pytest.mark.parametrize("sources", [[], None, [{}], [{"url": ""}], "x"])
def test_a_batch_of_nothing(client: CheckedClient, sources: Any) -> None:
    answer = client.post("/api/batches", json={"sources": sources, "variants": TWO})
    assert_problem(answer, 400, "invalid-parameters", "sources")
    assert_problem(client.get(f"/api/batches/{'0' * 32}"), 404, "job-unknown")
    assert_problem(client.delete("/api/batches/x"), 404, "job-unknown")


def test_a_batch_with_a_key_is_one_batch(client: CheckedClient) -> None:
    given = {"sources": [body()["source"]], "variants": TWO}
    headers = {"Idempotency-Key": "k"}
    first, second = (client.post("/api/batches", json=given, headers=headers) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["id"] == second.json()["id"]


def test_a_store_that_is_down_is_said_and_nothing_is_half_accepted(tmp_path: Path) -> None:
    server = RedisServer()
    shop = Workshop(tmp_path, RedisStore(server.url))
    with client_of(shop) as client:
        submit(client)
        server.kill()
        for answer in (
            client.post("/api/jobs", json=body()),
            client.post("/api/batches", json={"sources": [body()["source"]], "variants": TWO}),
            client.get("/api/jobs"),
            client.get("/api/queue/stats"),
        ):
            assert_problem(answer, 503, "storage-unavailable")
            assert int(answer.headers["retry-after"]) > 0
        ready = client.get("/ready")
        assert_problem(ready, 503, "engine-unavailable", says="job-store")
        services = client.get("/api/services/health").json()
        assert services["services"]["job-store"]["status"] == "down"
        server.start()
        assert client.get("/api/jobs").json()["jobs"] == []
    server.kill()


def test_ready_says_whether_jobs_are_worked_off(
    client: CheckedClient, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/ready").status_code == 200  # without a job nobody need be there
    submit(client)
    assert client.get("/ready").status_code == 200
    monkeypatch.setattr("omnishot_ray.jobs.service.time", lambda: time() + 31)
    assert_problem(client.get("/ready"), 503, "engine-unavailable", says="job-runner")
    with shop.working():
        deadline = monotonic() + DEADLINE_S
        while client.get("/ready").status_code != 200:
            assert monotonic() < deadline
    assert client.get("/api/services/health").json()["services"]["job-store"]["status"] == "ok"
