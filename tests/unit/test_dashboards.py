"""Dashboards and rules hold together with the catalogue, and the files with both."""

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from omnishot_ray.cli import main
from omnishot_ray.dashboards.boards import BOARDS
from omnishot_ray.dashboards.files import rendered, stale_files, write_files
from omnishot_ray.dashboards.grafana import alert_group, dashboard_document, data_source
from omnishot_ray.dashboards.queries import count_rate, level, quantile, rate, share
from omnishot_ray.dashboards.rules import RULES
from omnishot_ray.metrics.catalogue import CATALOGUE, Kind

ROOT = Path(__file__).resolve().parents[2]
PANELS = [panel for board in BOARDS for row in board.rows for panel in row.panels]
QUERIES = [series.query for panel in PANELS for series in panel.series]
NAME = re.compile(r"\bomnishot_\w+")


def names_in(query: str) -> set[str]:
    found = set()
    for name in NAME.findall(query):
        plain = re.sub(r"_(bucket|sum|count)$", "", name)
        found.add(plain if CATALOGUE.get(plain, None) and name not in CATALOGUE else name)
    return found


def test_files_are_what_the_generator_writes() -> None:
    folder = ROOT / "dashboards"
    assert stale_files(folder) == [], "run: .venv/bin/omnishot dashboards render"
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there - {"README.md"} == set(rendered())


def test_panels_and_rules_use_metrics_of_the_catalogue_alone() -> None:
    for query in (*QUERIES, *(rule.expr for rule in RULES)):
        assert names_in(query), query
        assert names_in(query) <= set(CATALOGUE), query


def test_every_metric_is_on_a_panel() -> None:
    shown = set().union(*map(names_in, QUERIES))
    assert set(CATALOGUE) - shown == set()


@pytest.mark.parametrize(
    ("make", "failure"),
    [
        (lambda: rate("omnishot_request_total"), KeyError),
        (lambda: rate("omnishot_queue_waiting"), ValueError),
        (lambda: rate("omnishot_requests_total", "tier"), ValueError),
        (lambda: rate("omnishot_requests_total", where={"tier": '="x"'}), ValueError),
        (lambda: level("omnishot_requests_total"), ValueError),
        (lambda: quantile(0.5, "omnishot_queue_waiting"), ValueError),
        (lambda: count_rate("omnishot_queue_waiting"), ValueError),
    ],
)
def test_a_query_cannot_name_what_is_not_there(make, failure) -> None:
    with pytest.raises(failure):
        make()


def test_queries_are_promql() -> None:
    assert rate("omnishot_requests_total", "route", where={"status": '=~"5.."'}) == (
        'sum by (route) (rate(omnishot_requests_total{status=~"5.."}[$__rate_interval]))'
    )
    assert quantile(0.95, "omnishot_request_duration_seconds", window="5m") == (
        "histogram_quantile(0.95, sum by (le) (rate(omnishot_request_duration_seconds_bucket[5m])))"
    )
    assert level("omnishot_hub_up", how="min") == "min(omnishot_hub_up)"
    assert share("a", "b") == "((a) or vector(0)) / ((b) > 0)"


def test_rules_look_at_a_fixed_time() -> None:
    """`$__rate_interval` is Grafana's; Prometheus does not know it."""
    assert not any("$__" in rule.expr for rule in RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert {rule.severity for rule in RULES} <= {"info", "warning", "critical"}


def test_units_are_those_of_the_catalogue() -> None:
    """A panel of one gauge or histogram is in its unit."""
    units = {"seconds": {"s"}, "bytes": {"bytes"}, "ratio": {"percentunit"}, "cores": {"short"}}
    for panel in PANELS:
        for series in panel.series:
            (name, *others) = sorted(names_in(series.query))
            known = CATALOGUE[name]
            counted = f"{name}_count" in series.query
            if not others and known.kind is not Kind.COUNTER and known.unit and not counted:
                assert panel.unit in units[known.unit], panel.title


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_a_dashboard_is_well_laid_out(board) -> None:
    document = dashboard_document(board)
    assert document["uid"] == f"omnishot-{board.name}"
    panels = document["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["id"] > 0 for panel in panels)
    places = [panel["gridPos"] for panel in panels]
    for place in places:
        assert place["x"] + place["w"] <= 24
    for one, other in itertools.combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    for panel in panels:
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            references = [target["refId"] for target in panel["targets"]]
            assert len(set(references)) == len(references)
            for target in panel["targets"]:
                labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                grouped = set(
                    re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"])))
                )
                assert labels == grouped - {"le"}, panel["title"]


def test_the_data_source_is_the_one_that_dashboards_choose() -> None:
    source = data_source("http://p:9090")
    for board in BOARDS:
        (variable,) = dashboard_document(board)["templating"]["list"]
        assert variable["current"]["value"] == source["uid"]
    for rule in alert_group()["rules"]:
        assert rule["data"][0]["datasourceUid"] == source["uid"]
        assert re.fullmatch(r"\d+[sm]", rule["for"])


def test_grafana_and_prometheus_have_the_same_rules() -> None:
    document = yaml.safe_load(rendered()["prometheus/rules.yml"])
    (group,) = document["groups"]
    mine = {rule["alert"]: rule for rule in group["rules"]}
    for rule in alert_group()["rules"]:
        query, condition = rule["data"]
        other = mine.pop(rule["title"])
        (evaluator,) = (one["evaluator"] for one in condition["model"]["conditions"])
        sign = {"gt": ">", "lt": "<"}[evaluator["type"]]
        assert other["expr"] == f"({query['model']['expr']}) {sign} {evaluator['params'][0]:g}"
        assert other["labels"] == rule["labels"]
    assert mine == {}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", [["check", "rules"], ["check", "config"]])
def test_promtool_accepts_the_files(what: list[str]) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "install Debian's prometheus (scripts/setup dev)"
    name = {"rules": "rules.yml", "config": "prometheus.yml"}[what[1]]
    path = ROOT / "dashboards" / "prometheus" / name
    done = subprocess.run(
        [promtool, *what, str(path)], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def test_render_writes_what_is_missing_and_no_more(tmp_path) -> None:
    written = write_files(tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in written} == set(rendered())
    (tmp_path / "grafana" / "pool.json").write_text("{}")
    command = ["dashboards", "render", "--output", str(tmp_path)]
    checked = CliRunner().invoke(main, [*command, "--check"])
    assert (checked.exit_code, checked.output.count("pool.json")) == (1, 1)
    assert "pool.json" in CliRunner().invoke(main, command).output
    assert json.loads((tmp_path / "grafana" / "pool.json").read_text())["uid"] == "omnishot-pool"
    assert CliRunner().invoke(main, [*command, "--check"]).exit_code == 0


def test_a_folder_that_cannot_be_had_is_said(tmp_path) -> None:
    (tmp_path / "file").touch()
    command = ["dashboards", "render", "-o", str(tmp_path / "file" / "below")]
    answer = CliRunner().invoke(main, command)
    assert (answer.exit_code, "cannot be written" in answer.output) == (3, True)
