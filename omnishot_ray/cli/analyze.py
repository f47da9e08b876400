"""`omnishot metrics analyze`: what the figures of a running service mean."""

import json
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime
from http.client import HTTPException
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from omnishot_ray.cli.address import check_url

_TIMEOUT_S = 30.0
_NOT_THERE = 3


def analyze(url: str, key: str, window: str, change_at: str, as_json: bool) -> int:
    """Print trends, anomalies, recommendations and costs, and the impact of a change where one is
    named. Returns the exit code.
    """
    check_url(url)
    try:
        document = _fetch(url, key, "", {"window": window})
        if change_at:
            asked = {"window": window, "at": change_at}
            document["impacts"] = _fetch(url, key, "/impact", asked)["impacts"]
    except urllib.error.HTTPError as error:
        try:
            said = json.loads(error.read())["detail"]
        except (ValueError, KeyError, TypeError):
            said = f"the service answered {error.code}"
        click.echo(f"omnishot: {said}", err=True)
        return 2 if error.code < 500 else 1
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        click.echo(f"omnishot: no service answers there ({reason}); see --url.", err=True)
        return _NOT_THERE
    if as_json:
        click.echo(json.dumps(document))
    else:
        _print(document)
    return 0


def _fetch(url: str, key: str, path: str, asked: dict[str, str]) -> dict[str, Any]:
    query = urllib.parse.urlencode(asked)
    address = f"{url.rstrip('/')}/api/analytics/analysis{path}?{query}"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        document: dict[str, Any] = json.loads(answer.read())
        return document


def _print(document: dict[str, Any]) -> None:
    console = Console(emoji=False)
    rows: list[tuple[object, ...]] = [
        (one["metric"], one["direction"] or "–", _number(one.get("per_hour")), one["points"])
        for one in document["trends"]
    ]
    console.print(_table("Trends", ("metric", "direction", "an hour", "points"), rows))
    rows = [
        (series["metric"], _clock(one["began_s"]), *_numbers(one, "value", "expected", "score"))
        for series in document["anomalies"]
        for one in series["found"]
    ]
    console.print(_table("Anomalies", ("metric", "began", "value", "expected", "score"), rows))
    rows = [
        (one["setting"], one["now"], one["then"], f"{one['why']} {one['gain']}")
        for one in document["recommendations"]
    ]
    console.print(_table("Recommendations", ("setting", "now", "then", "why, and what for"), rows))
    for one in document.get("impacts", ()):
        said = f"Impact on {one['metric']}: {one['verdict'] or one['reason']}"
        console.print(said, _change(one), markup=False)
    costs = document["costs"]
    each = costs["per_1000_images"]
    console.print(
        f"Costs: {costs['costs']['total']:.4f} {costs['currency']} for {costs['images']} images"
        + (f", {each['total']:.4f} for 1 000" if each else "")
    )


def _table(title: str, head: tuple[str, ...], rows: list[tuple[object, ...]]) -> Table | str:
    if not rows:
        return f"{title}: none"
    table = Table(*head, title=title, title_justify="left")
    for row in rows:
        table.add_row(*("–" if cell is None else escape(str(cell)) for cell in row))
    return table


def _change(impact: dict[str, Any]) -> str:
    if impact["verdict"] is None:
        return ""
    low, high = impact["interval"]
    return f"({_number(impact['difference'])}, 95 % within {_number(low)} to {_number(high)})"


def _numbers(row: dict[str, Any], *names: str) -> tuple[str, ...]:
    return tuple(_number(row[name]) for name in names)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4g}"


def _clock(at_s: float) -> str:
    return datetime.fromtimestamp(at_s).astimezone().strftime("%m-%d %H:%M:%S")
