"""Processes of visitors on services that hang, err or are slow: every request leaves an answer."""

import atexit
import io
import itertools
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep

import pytest
from PIL import Image

from omnishot_ray.imaging.header import read_header
from omnishot_ray.load.answers import Answer
from omnishot_ray.load.messages import authorize, is_own

Reply = tuple[int, bytes, dict[str, str]]
HUNG_S = 60.0
"""Longer than any of these tests."""


@dataclass
class Service:
    """Answers as `reply` says, and counts what it was asked."""

    reply: Callable[["Service", str, bytes], Reply]
    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Path and `Authorization` of each request."""
    open: int = 0
    most_open: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def paths(self, prefix: str) -> list[str]:
        return [path for path, _ in self.asked if path.startswith(prefix)]

    def answer(self, path: str, key: str, body: bytes) -> Reply:
        with self.lock:
            self.asked.append((path, key))
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        try:
            return self.reply(self, path, body)
        finally:
            with self.lock:
                self.open -= 1


@contextmanager
def serve(reply: Callable[[Service, str, bytes], Reply]) -> Iterator[Service]:
    service = Service(reply)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            key = self.headers.get("Authorization", "")
            status, content, headers = service.answer(self.path, key, body)
            try:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # the visitor has gone
                self.close_connection = True
            if headers.get("Connection") == "close":
                self.close_connection = True

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    service.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield service
    finally:
        service.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@cache
def pictures() -> str:
    """A folder with one picture; to draw the usual ones takes seconds."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    Image.radial_gradient("L").resize((800, 600)).save(Path(folder.name) / "one.jpg")
    return folder.name


def visit(service: Service, kind: str, *stages: tuple[int, float], **more: object) -> list[Answer]:
    """What a process of visitors says of it."""
    order = {
        "url": service.url,
        "mix": {"weights": {kind: 1}, "reuse": 0.0, "think_s": 0.0},
        "seed": 1,
        "stages": stages,
        "seconds": sum(seconds for _, seconds in stages),
        "pace_s": None,
        "first": 0,
        "step": 1,
        "pictures": pictures(),
        "decode_every": 1,
        "most_requests": 1_000_000,
        "patience_s": 1.0,
        **more,
    }
    run = subprocess.run(
        [sys.executable, "-m", "omnishot_ray.load.worker"],
        input=f"{json.dumps(order)}\ngo\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr, run.stderr
    key = str(more.get("key") or "no key")
    assert key not in run.stdout + run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert lines[0]["ready"]
    return [Answer(*row) for line in lines[1:] for row in line["answers"]]


def describe(body: bytes) -> Reply:
    """The right answer of /api/info."""
    header = read_header(body)
    return 200, json.dumps({"width": header.width, "height": header.height}).encode(), {}


def hang(service: Service) -> Reply:
    service.over.wait(HUNG_S)
    return 500, b"", {}


def test_a_service_that_stops_answering_is_seen() -> None:
    numbers = itertools.count()

    def reply(service: Service, path: str, body: bytes) -> Reply:
        return describe(body) if next(numbers) < 20 else hang(service)

    with serve(reply) as service:
        began_s = monotonic()
        answers = visit(service, "info", (3, 2.0))
        assert monotonic() - began_s < 30
    problems = [answer.problem for answer in answers]
    assert problems.count("") == 20
    assert problems.count("no answer within 0.5 s") == len(problems) - 20 == 3
    assert all(answer.ms >= 500 for answer in answers if answer.problem)


def test_who_leaves_finishes_his_request() -> None:
    def reply(service: Service, path: str, body: bytes) -> Reply:
        sleep(0.4)  # all of a visitor's time, so that he is always told to leave within a request
        return describe(body)

    with serve(reply) as service:
        answers = visit(service, "info", (4, 1.0), (1, 2.0), patience_s=5.0)
        assert len(answers) == len(service.asked)
    assert {answer.problem for answer in answers} == {""}


def test_a_visitor_who_thinks_does_not_hold_up_the_end() -> None:
    with serve(lambda service, path, body: describe(body)) as service:
        began_s = monotonic()
        mix = {"weights": {"info": 1}, "think_s": 1000.0}
        visit(service, "info", (3, 1.0), mix=mix, patience_s=30.0)
        assert monotonic() - began_s < 20


def test_a_pace_is_kept_by_a_slow_service() -> None:
    def reply(service: Service, path: str, body: bytes) -> Reply:
        sleep(1.0)
        return describe(body)

    with serve(reply) as service:
        answers = visit(service, "info", (2, 2.0), pace_s=0.25, patience_s=10.0)
        assert len(answers) == len(service.asked)
    assert 12 <= len(answers) <= 20, "with an answer before each there would be four"
    assert {answer.problem for answer in answers} == {""}
    assert min(answer.ms for answer in answers) >= 1000


def test_what_was_due_and_could_not_be_sent_counts() -> None:
    with serve(lambda service, path, body: hang(service)) as service:
        answers = visit(service, "info", (1, 2.0), pace_s=0.1)
        assert service.most_open == len(service.asked) == 8
    assert 17 <= len(answers) <= 32
    assert {answer.problem for answer in answers} == {"no answer within 0.5 s"}


def test_time_begins_when_a_request_was_due() -> None:
    numbers = itertools.count()

    def reply(service: Service, path: str, body: bytes) -> Reply:
        if next(numbers) < 8:  # all places of the visitor
            sleep(1.0)
        return describe(body)

    with serve(reply) as service:
        answers = visit(service, "info", (1, 2.0), pace_s=0.05, patience_s=10.0)
    late = [answer for answer in answers if answer.ms > 300]
    assert len(late) > 12, "those behind the slow ones have waited, too"


def avif(damaged: bool) -> bytes:
    sink = io.BytesIO()
    image = Image.radial_gradient("L").resize((640, 480)).convert("RGB")
    image.save(sink, "AVIF", quality=60)
    data = sink.getvalue()
    return data[: len(data) // 2] + bytes(len(data) - len(data) // 2) if damaged else data


@pytest.mark.parametrize(("damaged", "problem"), [(False, ""), (True, "cannot be decoded")])
def test_damaged_pictures_leave_an_answer(damaged: bool, problem: str) -> None:
    data = avif(damaged)
    with serve(lambda service, path, body: (200, data, {})) as service:
        answers = visit(service, "avif", (1, 1.0), patience_s=5.0)
        assert len(answers) == len(service.asked) > 0
    assert {answer.problem for answer in answers} == {problem}


def test_a_service_that_sheds_is_told_apart() -> None:
    def reply(service: Service, path: str, body: bytes) -> Reply:
        return describe(body) if len(service.asked) % 2 else (429, b"{}", {"Retry-After": "1"})

    with serve(reply) as service:
        answers = visit(service, "info", (1, 1.0), patience_s=5.0)
        assert len(answers) == len(service.asked)
    assert abs(sum(1 if answer.is_shed else -1 for answer in answers)) <= 1
    assert {answer.problem for answer in answers} == {"", "status 429"}


def test_an_answer_that_breaks_off_is_one() -> None:
    cut = {"Content-Length": "1000", "Connection": "close"}
    with serve(lambda service, path, body: (200, b"short", cut)) as service:
        answers = visit(service, "info", (1, 1.0), patience_s=5.0)
        assert len(answers) == len(service.asked) > 0
    assert {answer.problem for answer in answers} == {"answer broken off"}


PLATFORMS = {"instagram-post": (1080, 1080), "facebook-post": (1080, 1350)}


def entries() -> list[dict[str, object]]:
    return [
        {
            "name": name,
            "status": "ok",
            "width": width,
            "height": height,
            "format": "jpeg",
            "url": f"/api/jobs/1/results/{name}",
        }
        for name, (width, height) in PLATFORMS.items()
    ]


def result(path: str) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", PLATFORMS[path.rpartition("/")[2]]).save(sink, "JPEG")
    return sink.getvalue()


def jobs(state: object, place: str = "/api/jobs/1", picture: bytes | None = None):
    """Jobs that end in this state; `state` is a document or bytes."""

    def reply(service: Service, path: str, body: bytes) -> Reply:
        if path == "/api/jobs":
            return 202, b"{}", {"Location": place}
        if "/results/" in path:
            return 200, result(path) if picture is None else picture, {}
        return 200, state if isinstance(state, bytes) else json.dumps(state).encode(), {}

    return reply


DONE = {"status": "completed", "variants": entries()}


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (jobs(DONE), ""),
        (jobs(b"<html>"), "unreadable document"),
        (jobs({"status": {}}), "unreadable document"),
        (jobs(DONE, "http://127.0.0.2:9/jobs/1"), "job state elsewhere"),
    ],
    ids=["right", "html", "status", "elsewhere"],
)
def test_jobs_are_judged_whatever_they_say(reply, problem: str) -> None:
    with serve(reply) as service:
        answers = visit(service, "job", (1, 1.0), key="k-3f9a71", patience_s=10.0)
        assert len(answers) == len(service.paths("/api/jobs")) - len(service.paths("/api/jobs/"))
        assert {key for _, key in service.asked} == {"Bearer k-3f9a71"}
        fetched = len(service.paths("/api/jobs/1/results/"))
    assert {answer.problem for answer in answers} == {problem}
    assert fetched == (2 * -(-len(answers) // 4) if not problem else 0)


def test_results_of_jobs_are_looked_at() -> None:
    with serve(jobs(DONE, picture=b"GIF89a nothing")) as service:
        answers = visit(service, "job", (1, 1.0), patience_s=10.0)
    wrong = [answer for answer in answers if answer.problem == "job result, gif and not jpeg"]
    assert len(wrong) == -(-len(answers) // 4)


def test_without_a_key_none_is_sent() -> None:
    with serve(lambda service, path, body: describe(body)) as service:
        visit(service, "info", (1, 1.0))
        assert {key for _, key in service.asked} == {""}


@pytest.mark.parametrize("key", ["a\r\nX: y", "schlüssel", "a\0"])
def test_a_key_that_no_header_carries_is_refused_untold(key: str) -> None:
    with pytest.raises(ValueError, match="no header can carry") as told:
        authorize(key)
    assert key not in str(told.value)
    assert authorize("") == {}


@pytest.mark.parametrize(
    ("place", "own"),
    [
        ("/api/jobs/1", True),
        ("http://host:80/api/jobs/1", True),
        ("https://host:80/api/jobs/1", False),
        ("http://other/api/jobs/1", False),
        ("@other/x", False),
        (".other/x", False),
        ("", False),
    ],
)
def test_only_what_is_on_the_same_server_is_asked_for(place: str, own: bool) -> None:
    assert is_own("http://host:80", place) is own
