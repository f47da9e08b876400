"""The live page of the real service, through HAProxy, in Chromium."""

import re

from playwright.sync_api import expect

from tests.browser import PATIENCE_MS, running_browser, visiting
from tests.integration.service import Service
from tests.integration.test_metrics import load
from tests.pictures import encode, scene

PICTURE = {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": encode(scene(640, 480), "JPEG")}


def test_a_visitor_sees_renditions_and_figures_of_the_service(service: Service) -> None:
    expect.set_options(timeout=PATIENCE_MS)
    with running_browser() as browser, visiting(browser) as visit:
        page = visit.page
        page.goto(service.url)
        expect(page.locator(".segment")).to_have_count(3)
        page.get_by_role("radio", name="Marketplace").check()
        page.set_input_files("#file", PICTURE)
        expect(page.locator(".card[data-status=ok]")).to_have_count(8)
        load(service, 40)
        expect(page.locator("#state")).to_have_attribute("data-state", "live")
        expect(page.locator("#tile-requests")).to_have_text(re.compile(r"^[1-9]|^0\.[1-9]"))
        expect(page.locator("#tile-replicas")).to_have_text(re.compile(r"^[1-9]"))
        expect(page.locator("#processes")).to_contain_text("resizer")
        expect(page.locator("#lanes")).to_contain_text("event loop")
        assert visit.complaints == []
