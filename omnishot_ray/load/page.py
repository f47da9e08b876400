"""A report as one HTML page that needs nothing beside it."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from omnishot_ray.load.chart import Line, Panel, draw

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;
color:#1b1f24;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;display:block;overflow-x:auto}
th,td{padding:.25rem .4rem;border-bottom:1px solid #ddd;text-align:right}td{white-space:nowrap}
td:nth-child(7):last-child{white-space:normal}th{vertical-align:bottom}
th:first-child,td:first-child{text-align:left}
.passed{color:#1a7f37}.failed{color:#b42318;font-weight:600}
svg{width:100%;height:auto;border:1px solid #ddd;border-radius:6px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem}dd{margin:0}
"""
_COLUMNS = (
    ("users", "users"),
    ("requests", "requests"),
    ("failures", "failures"),
    ("shed", "of them 429"),
    ("success_rate", "success"),
    ("rps", "right answers/s"),
    ("p50", "p50 ms"),
    ("p95", "p95 ms"),
    ("p99", "p99 ms"),
    ("queue_p95", "queue p95 ms"),
    ("cached", "from caches"),
    ("load_cpu", "visitors' CPU"),
    ("cpu", "cores"),
    ("replicas", "resizers"),
    ("memory_mb", "memory MB"),
    ("memory_delta_mb", "memory Δ MB"),
)
_NOT_COMMON = "<p>The runs have no stage in common.</p>"
_LIMITED = ' class="failed"'
_VERDICTS = {True: "passed", False: "failed", None: "not seen"}
_MOST_ERRORS = 5
"""Kinds of errors that have a line of their own in the plot."""


def write_page(report: Mapping[str, Any]) -> str:
    """The page of a report, see `report.build_report`."""
    verdict = "passed" if report["passed"] else "failed"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>Load test: {escape(report['shape'])}</title><style>{_STYLE}</style></head><body>",
        f"<h1>Load test <em>{escape(report['shape'])}</em>: "
        f'<span class="{verdict}">{verdict}</span></h1>',
        f"<p>{escape(report['what'])}.</p>",
        f"<p>{describe_end(report)}</p>" if "ended" in report else "",
        _about(report),
        "<h2>Thresholds</h2>",
        _table(
            ("", "value", "limit", ""),
            [
                (
                    verdict["what"],
                    _number(verdict["value"]),
                    f"{verdict['sign']} {_number(verdict['limit'])}",
                    _VERDICTS[verdict["passed"]],
                )
                for verdict in report["thresholds"]
            ],
        ),
        "<h2>Steps</h2>",
        _steps(report["steps"]),
    ]
    parts.append(f"<p{_LIMITED * is_limited(report)}>{escape(describe_load(report))}</p>")
    if "knee" in report:
        parts.append(f"<p>{describe_knee(report)}</p>")
    parts += ["<h2>Over time</h2>", plot(report)]
    if "compared" in report:
        parts += [f"<h2>Beside {escape(report['beside'])}</h2>"]
        parts += [f"<p>{escape(note)}.</p>" for note in report.get("compared_notes", ())]
        parts.append(_compared(report["compared"]) if report["compared"] else _NOT_COMMON)
    parts += ["<h2>By kind of request</h2>", _kinds(report["kinds"]), "</body></html>", ""]
    return "\n".join(parts)


def describe_end(report: Mapping[str, Any]) -> str:
    """A sentence about why a run ended before its time."""
    ended = report["ended"]
    return f"It ended after {ended['after_s']:g} s of {ended['of_s']:g}: {ended['why']}."


def is_limited(report: Mapping[str, Any]) -> bool:
    """Whether the load was at its own limit in a step."""
    return bool(report["load"]["at_limit"])


def describe_load(report: Mapping[str, Any]) -> str:
    """A sentence about the CPU of the load itself, and what it means for the figures."""
    told = f"The visitors' processes took {report['load']['cores']:g} cores."
    if not is_limited(report):
        return told
    users = ", ".join(f"{count:,}" for count in report["load"]["at_limit"])
    return (
        f"{told} They were at their limit at {users} users: there the figures are of the load as "
        "much as of the service."
    )


def describe_knee(report: Mapping[str, Any]) -> str:
    """A sentence about the knee, or that there was none."""
    knee = report["knee"]
    if knee is None:
        return f"The knee was not reached up to {report['steps'][-1]['users']:,} users."
    return (
        f"The knee: {knee['users']:,} users, {_number(knee['rps'])} answers a second, "
        f"p95 {_number(knee['p95'])} ms. More users bring less than a tenth more."
    )


def plot(report: Mapping[str, Any]) -> str:
    """Throughput, latency, queue, replicas, CPU, memory and errors against time, as SVG."""
    rows = report["seconds"]

    def line(title: str, name: str) -> Line:
        return Line(title, [float(row.get(name) or 0.0) for row in rows])

    panels = [
        Panel("a second", [line("right answers", "rps"), line("users", "users")]),
        Panel("latency, ms", [line("p50", "p50"), line("p95", "p95"), line("p99", "p99")]),
        Panel("time in the queue, p95 ms", [line("queue", "queue_p95")]),
    ]
    if any("cpu" in row for row in rows):
        panels += [
            Panel("resizers", [line("resizers", "replicas")]),
            Panel("CPU of the service, cores", [line("cpu", "cpu")]),
            Panel("memory of the service, MB", [line("memory", "memory_mb")]),
        ]
    errors = _error_lines(rows)
    title = "errors a second" if len(errors) > 1 else f"errors a second: {errors[0].name}"
    panels.append(Panel(title, errors))
    return draw(report["what"], [float(row["at"] + 1) for row in rows], panels)


def _error_lines(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    totals: dict[str, int] = {}
    for row in rows:
        for problem, count in row["errors"].items():
            totals[problem] = totals.get(problem, 0) + count
    most = sorted(totals, key=lambda problem: -totals[problem])[:_MOST_ERRORS]
    if not most:
        return [Line("none", [0.0] * len(rows))]
    return [Line(name, [float(row["errors"].get(name, 0)) for row in rows]) for name in most]


def _about(report: Mapping[str, Any]) -> str:
    told = {
        "date": report["date"],
        "service": report.get("url", ""),
        "OmniShot Ray": report["omnishot"],
        "seed": report.get("seed", ""),
        "mix": report.get("mix", ""),
        **report.get("machine", {}),
    }
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in told.items())
    return f"<dl>{rows}</dl>"


def _steps(steps: Sequence[Mapping[str, Any]]) -> str:
    columns = [(name, title) for name, title in _COLUMNS if any(name in step for step in steps)]
    rows = [
        tuple(
            f"{step[name]:.2%}"
            if name == "success_rate"
            else f"{step[name]:.0%}"
            if name == "load_cpu" and step[name] is not None
            else _number(step.get(name))
            for name, _ in columns
        )
        for step in steps
    ]
    return _table(tuple(title for _, title in columns), rows)


def _kinds(kinds: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (
            kind,
            *(_number(figures[name]) for name in ("requests", "failures", "p50", "p95", "p99")),
            ", ".join(f"{problem}: {count}" for problem, count in figures["errors"].items()),
        )
        for kind, figures in kinds.items()
    ]
    return _table(("kind", "requests", "failures", "p50 ms", "p95 ms", "p99 ms", "errors"), rows)


def _compared(rows: Sequence[Mapping[str, Any]]) -> str:
    titles = {
        "success_rate": "success",
        "rps": "answers/s",
        "p95": "p95 ms",
        "memory_delta_mb": "memory Δ MB",
    }
    head = ["users"]
    for title in titles.values():
        head += [f"{title}, then", "now"]
    body = []
    for row in rows:
        cells = [str(row["users"])]
        for name in titles:
            cells += [_number(value) for value in row[name]]
        ratios = (row["rps_ratio"], row["p95_ratio"])
        body.append((*cells, *(f"{ratio:.2f}×" if ratio else "" for ratio in ratios)))
    return _table((*head, "answers/s", "p95"), body)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return (
            "<tr>"
            + "".join(
                f'<{tag} class="{cell}">{cell}</{tag}>'
                if cell in ("passed", "failed")
                else f"<{tag}>{escape(cell)}</{tag}>"
                for cell in cells
            )
            + "</tr>"
        )

    return "\n".join(["<table>", line(head, "th"), *(line(row, "td") for row in rows), "</table>"])


def _number(value: Any) -> str:
    if value is None or value == "":
        return "–"
    return f"{value:,.4g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"
