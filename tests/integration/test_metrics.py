"""The metrics of the real service: they move under load, and its hub may die."""

import asyncio
import base64
import concurrent.futures
import json
import os
import signal
import urllib.error
import urllib.request
from typing import Any

import websockets

from tests.integration.service import Service, wait_for
from tests.integration.test_service import SMALL, post


def get(service: Service, path: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"{service.url}{path}", timeout=15) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def figures(service: Service) -> dict[str, Any]:
    status, text = get(service, "/api/metrics?window=10m&group_by=route,lane")
    return json.loads(text) if status == 200 else {}


def hubs(service: Service) -> list[int]:
    return service.processes("ray::HubActor")


def load(service: Service, requests: int) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as clients:
        paths = [f"/api/optimize?width={40 + number}" for number in range(requests)]
        answers = list(clients.map(lambda path: post(service, path, SMALL), paths))
    assert {answer.status for answer, _ in answers} == {200}


def total(document: dict[str, Any]) -> int:
    return sum(one["requests"] for one in document.get("routes", ()) if "optimize" in one["route"])


def test_the_figures_move_under_load(service: Service) -> None:
    before = total(figures(service))
    load(service, 60)
    source = {"data": base64.b64encode(SMALL).decode()}
    job = json.dumps({"source": source, "variants": [{"name": "a", "width": 20}]}).encode()
    answer, _ = post(service, "/api/jobs", job, Content_Type="application/json")
    assert answer.status == 202  # which a runner is started for
    wanted = {"gateway", "resizer", "hub", "haproxy", "runner", "ray"}

    def complete() -> dict[str, Any] | None:
        found = figures(service)
        kinds = {one["kind"] for one in found.get("processes", ())}
        return found if total(found) >= before + 60 and wanted <= kinds else None

    document = wait_for(complete, 30, "the count, and every kind of process")
    assert document["memory_bytes"] > 100_000_000
    assert document["replicas"] >= 1
    assert document["lanes"]["loop"] + document["lanes"].get("inline", 0) >= 60
    assert document["groups"]
    status, text = get(service, "/metrics")
    assert status == 200
    assert 'omnishot_requests_total{cache="miss",format="jpeg",lane="loop"' in text


def test_the_stream_comes_through_the_proxy(service: Service) -> None:
    async def listen() -> list[dict[str, Any]]:
        url = f"ws://127.0.0.1:{service.port}/api/metrics/stream"
        async with asyncio.timeout(20), websockets.connect(url) as socket:
            await socket.send('{"subscribe": "metrics"}')
            return [json.loads(await socket.recv()) for _ in range(2)]

    first, second = asyncio.run(listen())
    assert second["at"] > first["at"]


def test_a_hub_that_dies_is_begun_anew_and_pictures_do_not_wait_for_it(service: Service) -> None:
    (old,) = hubs(service)
    os.kill(old, signal.SIGKILL)
    load(service, 8)
    wait_for(lambda: hubs(service) and old not in hubs(service), 40, "another hub")
    wait_for(lambda: get(service, "/ready")[0] == 200, 40, "readiness")
    before = total(figures(service))
    load(service, 8)
    wait_for(lambda: total(figures(service)) >= before + 8, 20, "the count")


def test_ready_names_the_hub_while_it_does_not_answer(service: Service) -> None:
    (hub,) = hubs(service)
    os.kill(hub, signal.SIGSTOP)
    try:
        status, text = get(service, "/ready")
        assert status == 503
        assert "metrics-hub" in json.loads(text)["detail"]
        load(service, 8)
    finally:
        os.kill(hub, signal.SIGCONT)
    wait_for(lambda: get(service, "/ready")[0] == 200, 30, "readiness")
