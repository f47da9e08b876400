"""What `omnishot loadtest` refuses before anything is started."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import omnishot_ray.cli.loadtest as module
from omnishot_ray.cli import main
from omnishot_ray.load.answers import Answer
from omnishot_ray.load.service import answers_at
from omnishot_ray.load.shapes import build_shape


@pytest.fixture(autouse=True)
def _nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("it has begun")

    monkeypatch.setattr(module, "_service", fail)
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["loadtest", *arguments])


def test_a_damaged_earlier_report_is_refused(tmp_path: Path) -> None:
    earlier = tmp_path / "earlier.json"
    step = {"users": 1, "rps": "fast", "p50": 1.0, "p95": 1.0, "p99": 1.0}
    earlier.write_text(json.dumps({"steps": [step]}))
    answer = run("--beside", str(earlier), "--report", str(tmp_path / "x.html"))
    assert answer.exit_code == 2
    assert "rps is no number" in answer.output


def test_an_earlier_run_of_another_shape_is_refused(tmp_path: Path) -> None:
    earlier = tmp_path / "earlier.json"
    earlier.write_text(json.dumps({"shape": "knee", "steps": []}))
    answer = run("--beside", str(earlier), "--report", str(tmp_path / "x.html"))
    assert answer.exit_code == 2
    assert "had the shape knee" in answer.output


def test_a_report_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "x.json").mkdir()
    for page in (tmp_path / "file" / "x.html", tmp_path / "x.html"):
        answer = run("--report", str(page))
        assert answer.exit_code == 2, page
        assert "cannot be written" in answer.output
    assert {path.name for path in tmp_path.iterdir()} == {"file", "x.json"}, "nothing is left"


def test_a_page_is_not_overwritten_by_its_json(tmp_path: Path) -> None:
    answer = run("--report", str(tmp_path / "x.json"))
    assert answer.exit_code == 2
    assert "x.html" in answer.output


@pytest.mark.parametrize(
    ("key", "said"),
    [(None, "no variable LOAD_KEY"), ("", "or it is empty"), ("hush\nx", "cannot be sent")],
)
def test_a_key_that_is_not_there_is_refused(
    key: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOAD_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("LOAD_KEY", key)
    answer = run("--key-env", "LOAD_KEY", "--report", str(tmp_path / "x.html"))
    assert answer.exit_code == 2
    assert said in answer.output
    assert "hush" not in answer.output


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("no picture")
    answer = run("--pictures", str(tmp_path), "--report", str(tmp_path / "x.html"))
    assert answer.exit_code == 2
    assert "no JPEG, PNG or WebP" in answer.output


def test_a_shape_that_cannot_have_so_few_users_is_refused(tmp_path: Path) -> None:
    answer = run("--shape", "spike", "--users", "1", "--report", str(tmp_path / "x.html"))
    assert answer.exit_code == 2
    assert "at least 2 users" in answer.output


class _Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_this_machine_is_not_asked_for_at_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with HTTPServer(("127.0.0.1", 0), _Healthy) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert answers_at(f"http://127.0.0.1:{server.server_port}") == ""


def test_lines_tell_how_it_goes_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    lines = module.Lines(build_shape("soak", 3, 60))
    for second in range(1, 22):
        problem = "status 500" if second == 15 else ""
        lines.note(float(second), 3, [Answer(0.0, "photo", 1.0, problem)] * 2)
    assert capsys.readouterr().err.splitlines() == [
        "soak: 3 users for 60 s",
        "10 of 60 s: 3 users, 2.0 answers/s, 0 wrong",
        "20 of 60 s: 3 users, 2.0 answers/s, 2 wrong",
    ]
