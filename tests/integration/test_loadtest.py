"""`omnishot loadtest` with the service that it starts and ends itself."""

import json
import os
import subprocess

import psutil

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
