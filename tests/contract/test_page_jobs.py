"""Jobs on the live page, in Chromium, with a real store and a real runner behind it."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.errors import TaskTimeout
from omnishot_ray.imaging.limits import Limits
from tests.browser import PATIENCE_MS, running_browser, served, visiting
from tests.pictures import encode, scene

jobbing = pytest.importorskip("tests.jobbing", reason="jobs are not part of this version")

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


def test_a_job_that_was_given_up_is_replayed(browser: Browser, tmp_path: Path) -> None:
    class Engine(jobbing.LocalEngine):  # type: ignore[misc]
        """Out of order until it is mended."""

        mended = False

        async def run(self, task: Any, limit_s: float) -> Any:
            if not self.mended:
                return TaskTimeout("It took too long.")
            return await super().run(task, limit_s)

    shop, engine = jobbing.Workshop(tmp_path), Engine()
    app = create_app(LocalOptimizer(Limits()), ApiConfig(), jobs=shop.jobs)
    data = base64.b64encode(encode(scene(60, 40), "JPEG")).decode()
    wanted = {"source": {"data": data}, "variants": [{"name": "small", "width": 20}]}
    with served(app) as address, shop.working(engine), visiting(browser) as visit:
        page = visit.page
        page.goto(address)
        expect(page.locator("#jobs")).to_be_visible()
        expect(page.locator("#job-dead")).to_contain_text("None.")
        answer = httpx2.post(f"{address}/api/jobs", json={**wanted, "max_attempts": 1})
        assert answer.status_code == 202, answer.text
        job = answer.json()["id"]
        replay = page.get_by_role("button", name=f"Replay {job}")
        expect(replay).to_be_visible()
        expect(page.locator("#tile-jobs-dead")).to_have_text("1")
        engine.mended = True
        replay.click()
        expect(page.locator("#job-dead")).to_contain_text("None.")
        row = page.locator("#job-recent tr", has_text=job)
        expect(row).to_contain_text("completed")
        expect(row).to_contain_text("100 %")
        assert visit.complaints == []
    shop.stores.store.close()


def test_jobs_wait_by_priority(browser: Browser, tmp_path: Path) -> None:
    shop = jobbing.Workshop(tmp_path)
    app = create_app(LocalOptimizer(Limits()), ApiConfig(), jobs=shop.jobs)
    with served(app) as address, visiting(browser) as visit:
        for width, priority in ((20, 1), (21, 1), (22, 7)):
            data = base64.b64encode(encode(scene(60, 40), "JPEG")).decode()
            variants = [{"name": "small", "width": width}]
            wanted = {"source": {"data": data}, "variants": variants, "priority": priority}
            httpx2.post(f"{address}/api/jobs", json=wanted).raise_for_status()
        visit.page.goto(address)
        shares = visit.page.locator("#job-priorities li")
        expect(shares).to_have_count(2)
        expect(shares.nth(0)).to_contain_text("priority 12 · 67")
        expect(shares.nth(1)).to_contain_text("priority 71 · 33")
        assert visit.complaints == []
    shop.stores.store.close()
