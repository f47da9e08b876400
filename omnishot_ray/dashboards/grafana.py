"""Boards and rules as Grafana reads them, through the typed builders of its Foundation SDK.

https://grafana.github.io/grafana-foundation-sdk/
"""

import json
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models

from omnishot_ray.dashboards.boards import Board, Panel
from omnishot_ray.dashboards.rules import GROUP, INTERVAL_S, RULES, Rule

DATA_SOURCE_UID = "omnishot-prometheus"
FOLDER_UID = "omnishot"
FOLDER_TITLE = "OmniShot Ray"
_PER_ROW = 24
_SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

Document = dict[str, Any]


def dashboard_document(board: Board) -> Document:
    """The dashboard's JSON model. A variable chooses the data source, so it can be imported."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(f"omnishot-{board.name}")
        .description(board.help)
        .tags(["omnishot"])
        .time("now-1h", "now")
        .timezone("browser")
        .refresh("10s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("OmniShot Ray")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["omnishot"])
            .as_dropdown(True)
            .keep_time(True)
        )
        .with_variable(
            dashboard.DatasourceVariable("datasource")
            .label("Data source")
            .type("prometheus")
            .current(models.VariableOption(text="OmniShot Ray", value=DATA_SOURCE_UID))
        )
    )
    number = 0
    for row in board.rows:
        number += 1
        made = made.with_row(dashboard.Row(row.title).id(number))
        for panel in row.panels:
            number += 1
            made = made.with_panel(_panel(panel, number))
    document: Document = json.loads(json.dumps(made.build(), cls=JSONEncoder))
    return document


def _panel(panel: Panel, number: int) -> stat.Panel | timeseries.Panel:
    made = _number_panel() if panel.single else _line_panel(panel)
    made = made.id(number).title(panel.title).unit(panel.unit).datasource(_SOURCE).min(0)
    if panel.help:
        made = made.description(panel.help)
    if panel.unit == "percentunit":
        made = made.max(1)
    if panel.warn is not None or panel.bad is not None:
        made = made.thresholds(_thresholds(panel))
    for place, series in enumerate(panel.series):
        made = made.with_target(
            prometheus.Dataquery()
            .expr(series.query)
            .legend_format(series.legend)
            .ref_id(chr(ord("A") + place))
            .range()
        )
    return made


def _number_panel() -> stat.Panel:
    return (
        stat.Panel()
        .span(_PER_ROW // 6)
        .height(4)
        .graph_mode(kinds.BigValueGraphMode.AREA)
        .no_value("nothing yet")
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def _line_panel(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .span(_PER_ROW // 3)
        .height(8)
        .fill_opacity(30 if panel.stacked else 10)
        .show_points(kinds.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(kinds.LegendDisplayMode.TABLE)
            .placement(kinds.LegendPlacement.BOTTOM)
            .calcs(["mean", "max"])
        )
        .tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI))
    )
    if panel.stacked:
        made = made.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL))
    if panel.warn is not None or panel.bad is not None:
        style = common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED)
        made = made.thresholds_style(style)
    return made


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    steps = [models.Threshold(value=None, color="green")]
    if panel.warn is not None:
        steps.append(models.Threshold(value=panel.warn, color="yellow"))
    if panel.bad is not None:
        steps.append(models.Threshold(value=panel.bad, color="red"))
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def data_source(url: str) -> Document:
    """What is posted to `/api/datasources` for a Prometheus at `url`."""
    return {
        "uid": DATA_SOURCE_UID,
        "name": "OmniShot Ray",
        "type": "prometheus",
        "access": "proxy",
        "url": url,
        "jsonData": {"httpMethod": "POST", "timeInterval": "15s"},
    }


def alert_group() -> Document:
    """What is put to `/api/v1/provisioning/folder/…/rule-groups/…`."""
    return {
        "title": GROUP,
        "folderUid": FOLDER_UID,
        "interval": INTERVAL_S,
        "rules": [_alert_rule(rule) for rule in RULES],
    }


def _alert_rule(rule: Rule) -> Document:
    return {
        "uid": f"omnishot-{rule.name.removeprefix('OmniShot').lower()}",
        "orgID": 1,
        "folderUID": FOLDER_UID,
        "ruleGroup": GROUP,
        "title": rule.name,
        "condition": "B",
        "data": [
            {
                "refId": "A",
                "relativeTimeRange": {"from": 600, "to": 0},
                "datasourceUid": DATA_SOURCE_UID,
                "model": {
                    "refId": "A",
                    "datasource": {"type": "prometheus", "uid": DATA_SOURCE_UID},
                    "expr": rule.value,
                    "instant": True,
                },
            },
            {
                "refId": "B",
                "relativeTimeRange": {"from": 600, "to": 0},
                "datasourceUid": "__expr__",
                "model": {
                    "refId": "B",
                    "datasource": {"type": "__expr__", "uid": "__expr__"},
                    "type": "threshold",
                    "expression": "A",
                    "conditions": [
                        {
                            "evaluator": {
                                "type": "lt" if rule.below else "gt",
                                "params": [rule.threshold],
                            }
                        }
                    ],
                },
            },
        ],
        # Without traffic there is no share and no percentile: that is no alarm.
        "noDataState": "OK",
        "execErrState": "Error",
        "for": f"{rule.for_s}s" if rule.for_s % 60 else f"{rule.for_s // 60}m",
        "labels": {"severity": rule.severity},
        "annotations": {"summary": rule.summary},
        "isPaused": False,
    }
