"""The script in a real Chromium: what a visit measures arrives."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route

from omnishot_ray.api.analytics.config import AnalyticsConfig
from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.metrics.samples import EventSample, FunnelSample, VitalSample
from omnishot_ray.metrics.vitals import VITALS
from tests.browser import PATIENCE_MS, Visit, running_browser, served, visiting
from tests.local_metrics import LocalMetrics

PAGE = """<!doctype html><title>Shop</title><link rel="icon" href="data:,">
<script src="{base}/analytics.js" data-segment="autumn" {more}></script>
<h1>A page</h1>
<button id="slow">Slow</button>
<div id="below">What is below</div>
<script>
  document.getElementById('slow').addEventListener('click', function () {{
    var end = performance.now() + 120;
    while (performance.now() < end) {{}}
    omnishot.event('click', {{ what: 'slow' }});
  }});
  function shift() {{
    var more = document.createElement('div');
    more.style.height = '200px';
    document.body.insertBefore(more, document.getElementById('below'));
  }}
</script>"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def metrics() -> LocalMetrics:
    return LocalMetrics()


@pytest.fixture
def service(metrics: LocalMetrics) -> Iterator[str]:
    """The service itself, at an address of its own."""
    app = create_app(
        LocalOptimizer(Limits()), ApiConfig(), metrics=metrics, analytics=AnalyticsConfig()
    )
    with served(app) as base:
        yield base


@pytest.fixture
def shop(service: str) -> Iterator[str]:
    """A web page of another origin with the script in it."""

    async def page(request: Request) -> Response:
        more = 'data-sample="0"' if request.query_params.get("sample") == "0" else ""
        return HTMLResponse(PAGE.format(base=service, more=more))

    async def empty(_: Request) -> Response:
        return HTMLResponse("<!doctype html><title>Elsewhere</title><link rel=icon href='data:,'>")

    app = Starlette(routes=[Route("/elsewhere", empty), Mount("/", Route("/{path:path}", page))])
    with served(app) as base:
        yield base


def wait_for(visit: Visit, metrics: LocalMetrics, count: int) -> None:
    """Until so many samples have arrived; the browser goes on working in the meantime."""
    for _ in range(PATIENCE_MS // 50):
        if len(metrics.told) >= count:
            return
        visit.page.wait_for_timeout(50)
    raise AssertionError(f"only {len(metrics.told)} of {count} samples: {metrics.told}")


@pytest.mark.timeout(180)
def test_a_visit_is_measured(browser: Browser, shop: str, metrics: LocalMetrics) -> None:
    with visiting(browser) as visit:
        page = visit.page
        page.goto(f"{shop}/orders/4711?token=secret")
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
        page.wait_for_timeout(600)  # what moves within half a second of an input is not unexpected
        page.evaluate("shift()")
        page.wait_for_timeout(600)
        page.click("#slow")
        page.wait_for_timeout(300)
        page.evaluate("omnishot.step('upload', {user_id: 'u'})")
        page.evaluate("omnishot.alert('upload-fails', {severity: 'critical', value: 3.5})")
        session = page.evaluate("omnishot.session")
        page.goto(f"{shop}/elsewhere")
        wait_for(visit, metrics, 9)
        assert visit.complaints == []

    vitals = {one.name: one for one in metrics.told if isinstance(one, VitalSample)}
    assert set(vitals) == set(VITALS)
    assert {one.page for one in vitals.values()} == {"/orders/:id"}
    assert {one.session_id for one in vitals.values()} == {session}
    assert {one.device for one in vitals.values()} == {"desktop"}
    assert 0 < vitals["TTFB"].value <= vitals["FCP"].value <= vitals["LCP"].value < PATIENCE_MS
    assert 0.001 < vitals["CLS"].value < 1
    assert vitals["INP"].value >= 100
    assert vitals["FID"].value >= 0

    (step,) = [one for one in metrics.told if isinstance(one, FunnelSample)]
    assert (step.step, step.session_id, step.user_id, step.segment) == (
        "upload",
        session,
        "u",
        "autumn",
    )
    events = {one.type: one for one in metrics.told if isinstance(one, EventSample)}
    assert set(events) == {"click", "alert:critical:upload-fails"}
    assert events["click"].data == '{"what":"slow"}'
    assert events["alert:critical:upload-fails"].data == '{"value":3.5}'


@pytest.mark.timeout(120)
def test_without_beacons_fetch_does_it(browser: Browser, shop: str, metrics: LocalMetrics) -> None:
    with visiting(browser) as visit:
        visit.page.add_init_script("Navigator.prototype.sendBeacon = undefined")
        visit.page.goto(f"{shop}/a")
        visit.page.evaluate("omnishot.step('viewing')")
        wait_for(visit, metrics, 1)
        assert visit.complaints == []
    assert isinstance(metrics.told[0], FunnelSample)


@pytest.mark.timeout(120)
def test_the_session_outlives_the_page_but_not_the_tab(
    browser: Browser, shop: str, metrics: LocalMetrics
) -> None:
    sessions = []
    for _ in range(2):
        with visiting(browser) as visit:
            for path in ("/a", "/b"):
                visit.page.goto(shop + path)
                sessions.append(visit.page.evaluate("omnishot.session"))
    assert sessions[0] == sessions[1] != sessions[2] == sessions[3]


@pytest.mark.timeout(120)
def test_who_is_not_sampled_sends_nothing(
    browser: Browser, shop: str, metrics: LocalMetrics
) -> None:
    with visiting(browser) as visit:
        sent: list[str] = []
        visit.page.on("request", lambda request: sent.append(f"{request.method} {request.url}"))
        visit.page.goto(f"{shop}/a?sample=0")
        visit.page.evaluate("omnishot.step('viewing'); omnishot.event('x'); omnishot.flush()")
        visit.page.goto(f"{shop}/elsewhere")
        visit.page.wait_for_load_state("networkidle")
    assert [one for one in sent if one.startswith("POST")] == []
    assert metrics.told == []
