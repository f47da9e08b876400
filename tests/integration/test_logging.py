"""Lines and spans of the real service: from every process, with one id."""

import json
import os
import secrets
from pathlib import Path

import pytest

from tests.integration.service import ROOT, start_service, wait_for
from tests.integration.test_service import SMALL, post

KEY = "0123456789abcdef0123456789abcdef"


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.timeout(240)
def test_lines_and_spans_of_a_slow_request_share_its_id(tmp_path) -> None:
    log, spans = tmp_path / "log", tmp_path / "spans"
    service = start_service(
        environment={
            "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))),
            "OMNISHOT_API_KEYS": f"shop:{KEY}",
            "OMNISHOT_DISPATCH__INLINE_MS": "0",
            "OMNISHOT_LOGS__FILE": str(log),
            "OMNISHOT_LOGS__SLOW_MS": "0.001",
            "OMNISHOT_METRICS__URI": "file:///proc/nothing-can-be-written-here",
            "OMNISHOT_METRICS__WRITE_S": "1",
            "OMNISHOT_TRACES__EXPORTER": "tests.integration.spans:export_to_file",
            "OMNISHOT_TRACES__SAMPLE": "1",
            "TESTS_SPANS_FILE": str(spans),
        }
    )
    request_id = "request-of-this-test"
    try:
        headers = {"X-Request-Id": request_id, "Authorization": f"Bearer {KEY}"}
        # A service that ran on this node a minute ago has left its results behind.
        body = SMALL + secrets.token_bytes(8)
        answer, _ = post(service, "/api/optimize?width=300&gravity=center", body, **headers)
        assert answer.status == 200
        assert answer.headers["x-request-id"] == request_id

        def told() -> list[dict]:
            lines = lines_of(log) if log.exists() else []
            return [line for line in lines if line.get("request_id") == request_id]

        (line,) = wait_for(told, 20, "the line of the request")
        assert line["process"].startswith("gateway-")
        assert line["message"].startswith("slow request")
        assert line["route"] == "/api/optimize"
        assert line["queue_ms"] > 0

        def all_numbered() -> bool:
            numbers = {line["message"] for line in lines_of(log)}
            return {"number 1 of 2 gateways", "number 2 of 2 gateways"} <= numbers

        wait_for(all_numbered, 20, "each gateway to know its place")

        def hub_complains() -> bool:
            return any(line["process"] == "hub" for line in lines_of(log))

        wait_for(hub_complains, 30, "a line of the hub")

        def traced() -> list[dict]:
            known = lines_of(spans) if spans.exists() else []
            of_request = {
                span["trace"]
                for span in known
                if span["attributes"].get("request_id") == request_id
            }
            mine = [span for span in known if span["trace"] in of_request]
            # Two processes write, each when it comes to it.
            has_root = any(span["parent"] is None for span in mine)
            has_encode = any(span["name"] == "omnishot.encode" for span in mine)
            return mine if has_root and has_encode else []

        mine = wait_for(traced, 20, "the spans of the request")
        by_name = {span["name"]: span for span in mine}
        (root,) = (span for span in mine if span["parent"] is None)
        assert root["name"].startswith("replica_handle_request Gateway")
        for stage in ("queue", "decode", "transform", "encode"):
            assert by_name[f"omnishot.{stage}"]["parent"] == root["span"]
        for written in (log.read_text(), spans.read_text(), service.output()):
            assert KEY not in written
    finally:
        service.stop()


@pytest.mark.timeout(240)
def test_lines_of_all_processes_appear_where_the_service_was_started() -> None:
    service = start_service(environment={"OMNISHOT_LOGS__SLOW_MS": "0.001"})
    try:
        post(service, "/api/optimize?width=100", SMALL, X_Request_Id="seen-here")
        wait_for(lambda: '"request_id":"seen-here"' in service.output(), 20, "the line")
    finally:
        service.stop()
