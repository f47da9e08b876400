"""`omnishot jobs` against a server of this process."""

import base64
import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
import uvicorn
from click.testing import CliRunner, Result

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.cli import jobs as commands
from omnishot_ray.cli import main
from omnishot_ray.imaging.limits import Limits
from tests.jobbing import Workshop
from tests.pictures import encode, scene


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    shop = Workshop(tmp_path)
    app = create_app(LocalOptimizer(Limits()), ApiConfig(), jobs=shop.jobs)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = monotonic() + 20
    while not server.started:
        assert monotonic() < deadline
        sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)
    shop.stores.store.close()


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["jobs", *arguments, "--url", url], env={"COLUMNS": "200"})


def submit(url: str) -> str:
    data = base64.b64encode(encode(scene(24, 16), "JPEG")).decode()
    document = {"source": {"data": data}, "variants": [{"name": "a", "width": 8}]}
    request = urllib.request.Request(
        f"{url}/api/jobs", json.dumps(document).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(json.load(answer)["id"])


def test_list_show_cancel_retry(url: str) -> None:
    job_id = submit(url)
    listed = run(url, "list")
    assert listed.exit_code == 0
    assert job_id in listed.output
    assert [job["id"] for job in json.loads(run(url, "list", "--json").output)["jobs"]] == [job_id]
    assert json.loads(run(url, "list", "--status", "dead", "--json").output)["jobs"] == []
    assert "pending" in run(url, "show", job_id).output
    assert json.loads(run(url, "show", job_id, "--json").output)["id"] == job_id
    cancelled = run(url, "cancel", job_id)
    assert (cancelled.exit_code, cancelled.output.strip()) == (0, f"{job_id}: cancelled")
    retried = json.loads(run(url, "retry", job_id, "--json").output)
    assert retried[0]["job"]["status"] == "queued"


def test_what_is_not_possible_is_said(url: str) -> None:
    job_id = submit(url)
    refused = run(url, "retry", job_id, "0" * 32)
    assert refused.exit_code == 1
    assert "The job is queued" in refused.output
    assert "There is no such job" in refused.output
    assert run(url, "show", "x").exit_code == 1
    assert run(url, "list", "--status", "lost").exit_code == 1


def test_names_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "a[bold]:cat:[/b]"
    variant = {"name": name, "status": "error", "error": {"detail": name}}
    job = dict.fromkeys(("started_at", "finished_at", "next_attempt_at", "batch_id")) | {
        "id": "0",
        "status": "dead",
        "progress": 0,
        "attempts": 1,
        "max_attempts": 1,
        "priority": 0,
        "user_id": name,
        "created_at": "now",
        "error": {"title": name, "detail": name},
        "variants": [variant],
    }
    page = {"jobs": [job], "next_cursor": None}
    monkeypatch.setattr(commands, "_ask", lambda _url, _how, path: page if "?" in path else job)
    assert run("http://a", "list").output.count(name) == 2
    assert run("http://a", "show", "0").output.count(name) == 4


def test_without_a_service() -> None:
    assert run("http://127.0.0.1:9", "list").exit_code == 3
    assert run("ftp://x", "list").exit_code == 2
    assert run("http://a b", "list").exit_code == 3
    assert CliRunner().invoke(main, ["jobs", "--help"]).output.count("cancel") >= 1
    assert CliRunner().invoke(main, ["jobs", "nonsense"]).exit_code == 2
