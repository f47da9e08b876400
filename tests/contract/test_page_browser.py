"""The live page as a visitor has it, in Chromium, with the real engine and metrics behind it."""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.cache.config import CacheConfig
from omnishot_ray.cache.front import CachingOptimizer
from omnishot_ray.cache.memory import MemoryTier
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.platforms import in_group
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.local import LocalMetrics
from tests.browser import PATIENCE_MS, Visit, running_browser, served, visiting
from tests.pictures import encode, scene

PICTURE = encode(scene(640, 480), "JPEG")
SELECTED = {"name": "scene.jpg", "mimeType": "image/jpeg", "buffer": PICTURE}
DOG = Path(__file__).parents[1] / "data" / "photo_dog_4032x3024_exif6.jpg"
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
KEY = "s3cret-of-the-shop"

expect.set_options(timeout=PATIENCE_MS)


def application(**config: Any) -> Any:
    cache = CacheConfig()
    return create_app(
        LocalOptimizer(Limits()),
        ApiConfig(**config),
        CachingOptimizer(cache, MemoryTier(cache.memory_bytes)),
        metrics=LocalMetrics(),
        metrics_config=MetricsConfig(),
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(application()) as address:
        yield address


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """A visitor whose console has to stay silent: errors, warnings, breaches of the policy."""
    with visiting(browser) as visit:
        visit.page.goto(address)
        yield visit
        assert visit.complaints == []


def choose(page: Page, picture: Any = SELECTED) -> None:
    expect(page.locator(".segment")).to_have_count(3)
    page.set_input_files("#file", picture)


def drop(page: Page, name: str, kind: str, data: bytes) -> None:
    expect(page.locator(".segment")).to_have_count(3)
    carried = page.evaluate_handle(
        """([name, type, octets]) => {
            const carried = new DataTransfer();
            carried.items.add(new File([new Uint8Array(octets)], name, { type }));
            return carried;
        }""",
        [name, kind, list(data)],
    )
    for event in ("dragover", "drop"):
        page.dispatch_event("#drop", event, {"dataTransfer": carried})


def number(text: str) -> float:
    return float(re.sub(r"[^0-9.]", "", text))


def test_a_dropped_picture_comes_back_as_its_renditions(visit: Visit) -> None:
    page = visit.page
    drop(page, "scene.jpg", "image/jpeg", PICTURE)
    cards = page.locator(".card[data-status=ok]")
    social = in_group("social")
    expect(cards).to_have_count(len(list(social)))
    card = page.locator('.card[data-name="instagram-post"]')
    expect(card).to_contain_text("1080 × 1080 JPEG")
    expect(card.locator(".size")).to_have_text(re.compile(r"^\d+(\.\d)?\s(B|kB|MB)$"))
    expect(page.locator("#summary")).to_contain_text("640 × 480 JPEG")
    expect(page.locator("#summary")).to_contain_text(re.compile(r"Answered in [\d.]+\s(ms|s)"))
    width = card.locator("img").evaluate("async img => (await img.decode(), img.naturalWidth)")
    assert width == 1080


def test_groups_places_and_options_change_what_is_asked_for(visit: Visit) -> None:
    page = visit.page
    choose(page)
    page.get_by_role("radio", name="Marketplace").check()
    expect(page.locator(".card")).to_have_count(len(list(in_group("marketplace"))))
    page.select_option("#format", "webp")
    expect(page.locator(".card").first).to_contain_text("WEBP")
    page.locator(".places summary").click()
    page.locator("#places-none").click()
    expect(page.locator("#problem")).to_contain_text("at least one place")
    page.get_by_role("checkbox", name="eBay").check()
    expect(page.locator(".card")).to_have_count(1)
    before = number(page.locator(".card .size").inner_text())
    page.select_option("#quality", "40")
    expect(page.locator(".card .size")).not_to_have_text(re.compile(f"^{before:g}\\s"))
    assert number(page.locator(".card .size").inner_text()) < before


def test_a_pasted_picture_is_taken(visit: Visit) -> None:
    page = visit.page
    expect(page.locator(".segment")).to_have_count(3)
    page.evaluate(
        """octets => {
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([new Uint8Array(octets)], "", { type: "image/png" }));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
        }""",
        list(encode(scene(64, 48), "PNG")),
    )
    expect(page.locator("#summary")).to_contain_text("64 × 48 PNG")


def test_downloads_are_the_renditions(visit: Visit) -> None:
    page = visit.page
    choose(page)
    with page.expect_download() as one:
        page.get_by_role("link", name="Download Instagram story").click()
    assert one.value.suggested_filename == "scene-instagram-story.jpg"
    assert Path(one.value.path()).read_bytes().startswith(b"\xff\xd8\xff")
    with page.expect_download() as all_of_them:
        page.get_by_role("button", name="Download all (zip)").click()
    names = zipfile.ZipFile(io.BytesIO(Path(all_of_them.value.path()).read_bytes())).namelist()
    assert len(names) == len(list(in_group("social"))) + 1  # and the manifest


def test_before_and_after_are_the_same_part_of_a_turned_photo(visit: Visit) -> None:
    """The source is drawn as its rendition shows it, though its pixels are stored on their side."""
    page = visit.page
    choose(page, DOG)
    frame = page.locator(".frame")
    expect(frame.locator("canvas")).to_be_attached()
    apart = frame.evaluate(
        """async frame => {
            const [image, before] = [frame.querySelector("img"), frame.querySelector("canvas")];
            await image.decode();
            const pixels = source => {
                const small = new OffscreenCanvas(32, 32).getContext("2d");
                small.imageSmoothingQuality = "high";
                small.drawImage(source, 0, 0, 32, 32);
                return small.getImageData(0, 0, 32, 32).data;
            };
            const [a, b] = [pixels(image), pixels(before)];
            return a.reduce((sum, value, at) => sum + Math.abs(value - b[at]), 0) / a.length;
        }"""
    )
    assert apart < 8, "of 255; another crop of this photo is above 30"
    slider = frame.get_by_role("slider")
    slider.focus()
    page.keyboard.press("End")
    assert frame.evaluate("frame => frame.style.getPropertyValue('--at')") == "100%"
    page.keyboard.press("Home")
    assert frame.evaluate("frame => frame.style.getPropertyValue('--at')") == "0%"


def test_what_is_no_picture_is_said_to_be_none(browser: Browser, address: str) -> None:
    with visiting(browser) as visit:
        visit.page.goto(address)
        drop(visit.page, "notes.txt", "text/plain", b"These are notes, not a picture. " * 20)
        problem = visit.page.get_by_role("alert").filter(has_text="format")
        expect(problem).to_be_visible()
        expect(problem).to_contain_text("request ")
        expect(visit.page.locator("#results")).to_be_hidden()
        # Chromium itself writes of every answer of 4xx into the console; nothing else may be there.
        assert [one for one in visit.complaints if "status of 415" not in one] == []
        choose(visit.page)
        expect(visit.page.locator(".card").first).to_be_visible()
        expect(problem).to_be_hidden()


def test_a_file_over_the_limit_is_not_sent(browser: Browser) -> None:
    with served(application(max_body_bytes=1000)) as address, visiting(browser) as visit:
        visit.page.goto(address)
        choose(visit.page)
        expect(visit.page.locator("#problem")).to_contain_text("at most 1.0\u00a0kB")
        assert visit.complaints == []


def test_figures_move_under_load(visit: Visit, address: str) -> None:
    page = visit.page
    expect(page.locator("#state")).to_have_attribute("data-state", "live")
    expect(page.locator("#live")).to_be_visible()
    before = number(page.locator("#tile-renditions").inner_text())
    with httpx2.Client(base_url=address) as client:
        for width in range(20, 80):
            client.post(f"/api/optimize?width={width}", content=PICTURE).raise_for_status()
        client.post("/api/optimize", content=b"no picture")
    expect(page.locator("#routes")).to_contain_text("/api/optimize")
    page.wait_for_function(
        "before => parseFloat(document.getElementById('tile-renditions').textContent) > before",
        arg=before,
    )
    expect(page.locator("#tiers")).to_contain_text("made anew")
    expect(page.locator("#formats")).to_contain_text("jpeg")
    expect(page.locator("#errors")).to_contain_text("unsupported-format")
    expect(page.locator("#chart-rate .stroke.line-requests")).to_be_attached()
    expect(page.locator("#chart-latency svg")).to_have_attribute(
        "aria-label", re.compile(r"Latency: p50 .*p99 \d")
    )


def test_a_chart_is_read_with_the_keyboard(visit: Visit) -> None:
    chart = visit.page.locator("#chart-rate svg")
    expect(chart.locator(".stroke").first).to_be_attached()
    chart.focus()
    visit.page.keyboard.press("ArrowLeft")
    expect(chart.locator(".cursor")).to_be_attached()
    expect(visit.page.locator("#chart-rate .moment")).to_have_text(re.compile(r"\d:\d\d"))


def test_where_sockets_do_not_get_through_figures_are_asked_for(
    browser: Browser, address: str
) -> None:
    with visiting(browser) as visit:
        visit.page.route_web_socket("**/api/metrics/stream", lambda socket: socket.close())
        visit.page.goto(address)
        expect(visit.page.locator("#state")).to_have_attribute("data-state", "polling")
        expect(visit.page.locator("#tile-requests")).to_be_visible()
        assert visit.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(browser: Browser, address: str, scheme: Any) -> None:
    shade = "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    with visiting(browser, color_scheme=scheme) as visit:
        visit.page.goto(address)
        is_dark = visit.page.evaluate(shade) < 128
        assert is_dark == (scheme == "dark")
        button = visit.page.get_by_role("button", name="Dark")
        expect(button).to_have_attribute("aria-pressed", str(is_dark).lower())
        button.click()
        assert (visit.page.evaluate(shade) < 128) != is_dark
        visit.page.reload()
        assert (visit.page.evaluate(shade) < 128) != is_dark, "what was chosen stays"
        assert visit.complaints == []


CONTRAST = """() => {
    const channel = value =>
        (value /= 255) <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
    const parse = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
    const behind = element => {
        for (let at = element; at; at = at.parentElement) {
            const colour = parse(getComputedStyle(at).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    const poor = [];
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
        if (!own || !element.checkVisibility() || element.closest("svg, .frame, option")) continue;
        const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
        const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        if (ratio < 4.5) poor.push(`${element.className || element.tagName} ${ratio.toFixed(2)}`);
    }
    return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(browser: Browser, address: str, scheme: Any) -> None:
    """WCAG 2.2, 1.4.3: at least 4.5 : 1, measured on every text that is shown."""
    with visiting(browser, color_scheme=scheme, reduced_motion="reduce") as visit:
        visit.page.goto(address)
        choose(visit.page)
        expect(visit.page.locator(".card").first).to_be_visible()
        expect(visit.page.locator("#live")).to_be_visible()
        assert visit.page.evaluate(CONTRAST) == []


def test_controls_have_names_and_nothing_moves_for_those_who_do_not_want_it(
    browser: Browser, address: str
) -> None:
    with visiting(browser, reduced_motion="reduce") as visit:
        page = visit.page
        page.goto(address)
        choose(page)
        expect(page.locator(".frame")).to_be_visible()
        nameless = page.locator("button, input, select, a[href], summary").evaluate_all(
            """all => all.filter(one => one.checkVisibility()).filter(one => !(
                one.getAttribute("aria-label") || one.textContent.trim() ||
                one.labels?.[0]?.textContent.trim() || one.querySelector("img[alt]:not([alt=''])")
            )).map(one => one.outerHTML)"""
        )
        assert nameless == []
        assert page.evaluate("document.getAnimations().length") == 0
        assert page.evaluate(
            "getComputedStyle(document.querySelector('.drop')).transitionDuration"
        ) in (
            "0s",
            "",
        )


def test_a_phone_scrolls_one_way(browser: Browser, address: str) -> None:
    with visiting(browser, **PHONE) as visit:
        page = visit.page
        page.goto(address)
        wide = "() => document.documentElement.scrollWidth - innerWidth"
        assert page.evaluate(wide) <= 0
        choose(page, DOG)
        expect(page.locator(".card").first).to_be_visible()
        expect(page.locator("#live")).to_be_visible()
        page.locator(".places summary").click()
        assert page.evaluate(wide) <= 0
        assert visit.complaints == []


def test_with_the_keyboard_alone(visit: Visit) -> None:
    page = visit.page
    choose(page)
    expect(page.locator(".card").first).to_be_visible()
    page.keyboard.press("Tab")
    page.get_by_role("radio", name="Social").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Marketplace")).to_be_checked()
    expect(page.locator(".card")).to_have_count(len(list(in_group("marketplace"))))
    second = page.locator(".thumb").nth(1)
    second.focus()
    page.keyboard.press("Enter")
    expect(second).to_have_attribute("aria-pressed", "true")


def test_a_key_is_asked_for_and_kept_for_the_tab(browser: Browser) -> None:
    with served(application(keys=(f"shop:{KEY}",))) as address, visiting(browser) as visit:
        page = visit.page
        page.goto(address)
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        assert visit.complaints == [], "nothing is asked for before there is a key"
        dialog.get_by_label("Key").fill(KEY)
        dialog.get_by_role("button", name="Use it").click()
        expect(page.locator("#state")).to_have_attribute("data-state", "live")
        choose(page)
        expect(page.locator(".card").first).to_be_visible()
        page.reload()
        expect(page.locator("#state")).to_have_attribute("data-state", "live")
        expect(dialog).to_be_hidden()
        assert KEY not in page.content()
        assert visit.complaints == []


def test_a_wrong_key_is_asked_for_again(browser: Browser) -> None:
    with served(application(keys=(f"shop:{KEY}",))) as address, visiting(browser) as visit:
        visit.page.goto(address)
        dialog = visit.page.get_by_role("dialog")
        dialog.get_by_label("Key").fill("wrong")
        dialog.get_by_role("button", name="Use it").click()
        expect(dialog.get_by_role("alert")).to_contain_text("not accepted")
        expect(dialog).to_be_visible()


def test_names_and_errors_never_become_part_of_the_page(visit: Visit) -> None:
    trap = "<img src=x onerror=alert(1)>.jpg"
    choose(visit.page, {**SELECTED, "name": trap})
    expect(visit.page.locator("#drop-name")).to_have_text(trap)
    expect(visit.page.locator(".card").first).to_be_visible()
    assert visit.page.locator("#drop-name img").count() == 0
