"""`omnishot loadtest` with the service that it starts and ends itself."""

import json
import os
import signal
import subprocess
from time import monotonic, sleep

import psutil
import pytest

from tests.integration.service import BIN, ROOT


def test_steps_on_a_service_of_its_own(tmp_path) -> None:
    page = tmp_path / "steps.html"
    command = [str(BIN / "omnishot"), "loadtest", "--shape", "steps", "--users", "5", "--json"]
    command += ["--seconds", "4", "--most-p95-ms", "60000", "--report", str(page)]
    run = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMNISHOT_RESIZERS__MAX_REPLICAS": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert [step["users"] for step in document["steps"]] == [1, 5]
    for step in document["steps"]:
        assert step["requests"] > 0
        assert step["failures"] == 0
        assert step["rps"] > 0
        assert 0 < step["p50"] <= step["p95"] <= step["p99"]
        assert step["replicas"] == 1, "the Resizer is seen"
        assert step["memory_mb"] > 300, "Ray's processes are seen"
        assert step["cpu"] > 0
    assert set(document["kinds"]) >= {"thumbnail", "photo"}
    assert page.read_text().startswith("<!doctype html>")
    port = document["url"].rpartition(":")[2]
    left = [p for p in psutil.process_iter(["cmdline"]) if port in (p.info["cmdline"] or [])]
    assert left == [], "the service was ended"


def heed_signals() -> None:
    """As in a terminal: what runs under nohup, or in the background of a shell, ignores them."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("number", "code", "told"), [(signal.SIGHUP, 129, False), (signal.SIGINT, 130, True)]
)
def test_who_ends_it_is_left_with_no_process(tmp_path, number: int, code: int, told: bool) -> None:
    command = [str(BIN / "omnishot"), "loadtest", "--shape", "soak", "--users", "2"]
    command += ["--seconds", "90", "--report", str(tmp_path / "x.html")]
    heard = tmp_path / "heard"
    with heard.open("w") as errors:
        run = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "OMNISHOT_RESIZERS__MAX_REPLICAS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            preexec_fn=heed_signals,
        )
    try:
        until = monotonic() + 80
        while "soak:" not in heard.read_text():
            assert run.poll() is None, heard.read_text()
            assert monotonic() < until
            sleep(0.2)
        sleep(2)
        family = psutil.Process(run.pid).children(recursive=True)
        assert len(family) > 5
        began = monotonic()
        run.send_signal(number)
        assert run.wait(30) == code
        assert monotonic() - began < 20
    finally:
        run.kill()
        run.wait()
    _, left = psutil.wait_procs(family, timeout=5)
    assert left == []
    assert (tmp_path / "x.json").exists() is told
    if told:
        assert json.loads((tmp_path / "x.json").read_text())["ended"]["why"] == "interrupted"
