"""Takes the pictures of the live page for the README: `python scripts/screenshots.py`.

Starts the service, gives it a mixed load for as long as a chart is wide, and looks at it with the
Chromium of Debian. `--url` looks at a service that runs already, `--seconds` shortens the load.
"""

import argparse
import concurrent.futures
import io
import random
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser import running_browser, visiting  # noqa: E402
from tests.integration.service import start_service  # noqa: E402

DATA, OUT = ROOT / "tests" / "data", ROOT / "docs" / "images"
PHOTO = DATA / "photo_dog_4032x3024_exif6.jpg"
SMALL = DATA / "valid" / "photo_flower_480x360.jpg"
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5, "is_mobile": True}


def load(url: str, seconds: float) -> None:
    """Thumbnails, some of them again, photos for several places, and a file that is no picture."""
    small, photo = SMALL.read_bytes(), PHOTO.read_bytes()
    until = time.monotonic() + seconds
    chance = random.Random(7)

    def ask(_: int) -> None:
        while time.monotonic() < until:
            kind = chance.random()
            if kind < 0.03:
                post(f"{url}/api/variants?group=marketplace", photo)
            elif kind < 0.05:
                post(f"{url}/api/optimize?width=100", b"not a picture")
            else:
                width, form = chance.randint(40, 400), chance.choice(("jpeg", "webp", "avif"))
                post(f"{url}/api/optimize?width={width}&format={form}", small)
            time.sleep(chance.expovariate(12 + 8 * (int(until - time.monotonic()) // 20 % 2)))

    with concurrent.futures.ThreadPoolExecutor(3) as clients:
        list(clients.map(ask, range(3)))


def post(url: str, body: bytes) -> None:
    """Ask, whatever the answer is."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        error.close()


def choose(page: Page) -> None:
    """Give the page a photo and wait until every picture is drawn."""
    page.wait_for_selector(".segment")
    page.set_input_files("#file", str(PHOTO))
    page.wait_for_selector(".frame canvas", state="attached")
    page.eval_on_selector_all(
        ".card:not([hidden]) img, .frame img",
        "all => Promise.all(all.map(one => (one.loading = 'eager', one.decode())))",
    )
    page.evaluate("scrollTo(0, 0)")


def shoot(page: Page, name: str, clip: dict[str, Any] | None = None) -> None:
    """A JPEG of what is seen, or of `clip` of the whole page."""
    data = page.screenshot(clip=clip, full_page=clip is not None, animations="disabled")
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        image.convert("RGB").save(OUT / name, quality=80, optimize=True, progressive=True)


def part(page: Page, selector: str) -> dict[str, float]:
    """The rectangle of a section over the whole width."""
    box = page.locator(selector).bounding_box()
    assert box
    width = page.viewport_size["width"] if page.viewport_size else box["width"]
    return {"x": 0, "y": box["y"], "width": width, "height": box["height"] + 24}


def take_pictures(url: str, seconds: float) -> None:
    """All of them, while the load goes on."""
    with (
        concurrent.futures.ThreadPoolExecutor(1) as background,
        running_browser() as browser,
    ):
        loading = background.submit(load, url, seconds)
        time.sleep(max(0.0, seconds - 25))
        with visiting(browser, color_scheme="light", **DESKTOP) as visit:
            visit.page.goto(url)
            choose(visit.page)
            visit.page.wait_for_selector("#chart-rate .stroke")
            top = part(visit.page, "#picture")
            shoot(visit.page, "page-light.jpg", {**top, "y": 0, "height": top["height"] + 60})
        with visiting(browser, color_scheme="dark", **DESKTOP) as visit:
            visit.page.goto(url)
            visit.page.wait_for_selector("#chart-rate .stroke")
            visit.page.wait_for_selector("#processes table")
            shoot(visit.page, "page-dark.jpg", part(visit.page, "#live"))
        with visiting(browser, color_scheme="light", **PHONE) as visit:
            visit.page.goto(url)
            choose(visit.page)
            shoot(visit.page, "page-phone.jpg")
        loading.result()


@contextmanager
def service_at(url: str) -> Iterator[str]:
    """The service that runs there, or one of our own."""
    if url:
        yield url
        return
    service = start_service(environment={"OMNISHOT_DISPATCH__INLINE_MS": "20"})
    try:
        yield service.url
    finally:
        service.stop()


def main() -> None:
    """Read the arguments and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="")
    parser.add_argument("--seconds", type=float, default=300.0)
    given = parser.parse_args()
    with service_at(given.url) as url:
        take_pictures(url, given.seconds)


if __name__ == "__main__":
    main()
