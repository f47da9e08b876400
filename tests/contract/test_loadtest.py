"""`omnishot loadtest` on a server without Ray: what it prints, writes and returns."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from omnishot_ray.load.run import run_shape
from omnishot_ray.load.shapes import Shape, Stage, Thresholds
from omnishot_ray.load.traffic import Mix

ROOT = Path(__file__).resolve().parents[2]
SERVER = """
import sys, uvicorn
from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.imaging.limits import Limits
app = create_app(LocalOptimizer(Limits()), ApiConfig())
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""
WRONG = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Wrong(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self): self.answer(b"{}")
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"not a picture")
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Wrong).serve_forever()
"""

JOBS = """
import io, json, sys
from PIL import Image
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Jobs(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked = {}
    sizes = {"instagram-post": (1080, 1080), "facebook-post": (1080, 1350)}
    def answer(self, status, document, **headers):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers.items(): self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if b'name="file"' not in body or b'name="job"' not in body:
            return self.answer(400, {})
        number = len(self.asked)
        self.asked[number] = 0
        self.answer(202, {"id": number}, Location=f"/api/jobs/{number}")
    def do_GET(self):
        last = self.path.rpartition("/")[2]
        if last in self.sizes:
            sink = io.BytesIO()
            Image.new("RGB", self.sizes[last]).save(sink, "JPEG")
            return self.answer(200, sink.getvalue())
        number = int(last)
        self.asked[number] += 1
        end = "failed" if number % 3 == 2 else "completed"
        status = "active" if self.asked[number] < 2 else end
        ok = {"status": "ok", "format": "jpeg"}
        variants = [
            {**ok, "name": name, "width": width, "height": height, "url": f"{self.path}/{name}"}
            for name, (width, height) in self.sizes.items()
        ]
        self.answer(200, {"status": status, "variants": variants})
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Jobs).serve_forever()
"""
"""Jobs by their contract: asked twice they are done, every third fails."""


def _start(source: str) -> tuple[subprocess.Popen[bytes], int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", source, str(port)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process, port
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    raise AssertionError("the server did not start")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    process, port = _start(SERVER)
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def wrong() -> Iterator[str]:
    process, port = _start(WRONG)
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


def loadtest(*arguments: str, folder: Path, code: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code + "from omnishot_ray.cli import main; main()"]
    command += ["loadtest", *arguments, "--report", str(folder / "made.html")]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )


def test_steps_print_one_document(server: str, tmp_path) -> None:
    run = loadtest(
        *("--url", server, "--shape", "steps", "--users", "3", "--seconds", "3", "--json"),
        *("--most-p95-ms", "60000", "--processes", "2"),
        folder=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert [step["users"] for step in document["steps"]] == [1, 3]
    for step in document["steps"]:
        assert {"users", "requests", "failures", "rps", "p50", "p95", "p99"} <= set(step)
        assert step["requests"] > 0
        assert step["failures"] == 0
        assert 0 < step["p50"] <= step["p95"] <= step["p99"]
        assert step["memory_mb"] > 20, "the service's processes are found by its port"
    assert json.loads((tmp_path / "made.json").read_text()) == document
    assert (tmp_path / "made.html").read_text().startswith("<!doctype html>")


def test_a_second_run_is_compared_with_the_first(server: str, tmp_path) -> None:
    short = ("--url", server, "--shape", "soak", "--users", "2", "--seconds", "2")
    loose = ("--most-p95-ms", "60000")
    first = loadtest(*short, *loose, folder=tmp_path)
    assert "answers/s" in first.stdout, first.stderr
    (tmp_path / "earlier.json").write_text((tmp_path / "made.json").read_text())
    second = loadtest(*short, *loose, "--beside", str(tmp_path / "earlier.json"), folder=tmp_path)
    assert "beside earlier.json" in second.stdout.replace("\n", " ")
    assert "Beside earlier.json" in (tmp_path / "made.html").read_text()


def test_wrong_answers_fail_it(wrong: str, tmp_path) -> None:
    run = loadtest(
        *("--url", wrong, "--shape", "soak", "--users", "2", "--seconds", "2", "--json"),
        folder=tmp_path,
    )
    assert run.returncode == 1
    document = json.loads(run.stdout)
    assert document["totals"]["failures"] == document["totals"]["requests"] > 0
    assert "not a picture" in document["totals"]["errors"]


def test_jobs_are_followed_to_their_end() -> None:
    process, port = _start(JOBS)
    try:
        shape = Shape("jobs", "jobs", (Stage(3, 4.0),), Thresholds(), think_s=0.0)
        run = run_shape(shape, f"http://127.0.0.1:{port}", Mix({"job": 1}))
    finally:
        process.kill()
        process.wait()
    problems = [answer.problem for answer in run.answers]
    assert set(problems) == {"", "job failed"}
    assert 0.2 < problems.count("job failed") / len(problems) < 0.5
    assert min(answer.ms for answer in run.answers) > 200, "the time is that of the whole job"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--url", "http://192.0.2.7:80"), 2, "--allow-remote"),
        (("--url", "nonsense"), 2, "--url has to be as"),
        (("--url", "http://127.0.0.1:9"), 3, "nobody answers"),
        (("--shape", "nap"), 2, "nap"),
        (("--users", "20000"), 2, "20000"),
        (("--beside", "pyproject.toml"), 2, "pyproject.toml"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, code: int, said: str, tmp_path) -> None:
    run = loadtest(*arguments, folder=tmp_path)
    assert run.returncode == code
    assert said in run.stderr


def test_without_locust_it_says_what_to_install(tmp_path) -> None:
    hide = "import sys; sys.modules['locust'] = None\n"
    run = loadtest("--shape", "soak", folder=tmp_path, code=hide)
    assert run.returncode == 3
    assert "pip install locust psutil" in run.stderr
