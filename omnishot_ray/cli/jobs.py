"""`omnishot jobs`: what is in the queue of a running service, over HTTP."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from omnishot_ray.cli.address import check_url

_TIMEOUT_S = 30.0
_COLOURS = {
    "completed": "green",
    "active": "cyan",
    "failed": "red",
    "dead": "red",
    "cancelled": "dim",
}


@click.group()
def jobs() -> None:
    """List, show, retry and cancel the jobs of a running service.

    An API key is taken from OMNISHOT_API_KEY.
    """


_at = click.option(
    "--url",
    default="http://127.0.0.1:8000",
    show_default=True,
    callback=lambda _context, _parameter, url: url.rstrip("/"),
    help="The service.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, not a table.")


@jobs.command("list")
@click.option("--status", help="One or more, with commas: queued, active, completed, failed, …")
@click.option("--user", "user_id", help="Whose jobs.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 200))
@click.option("--cursor", help="`next_cursor` of the page before.")
@_at
@_as_json
def list_jobs(url: str, as_json: bool, **wanted: Any) -> None:
    """Jobs, the newest first."""
    query = urllib.parse.urlencode({k: v for k, v in wanted.items() if v is not None})
    page = _ask(url, "GET", f"/api/jobs?{query}")
    if as_json:
        click.echo(json.dumps(page))
        return
    table = Table("id", "status", "progress", "attempts", "priority", "user", "created", "error")
    for job in page["jobs"]:
        table.add_row(
            job["id"],
            _coloured(job["status"]),
            f"{job['progress']} %",
            f"{job['attempts']}/{job['max_attempts']}",
            str(job["priority"]),
            escape(job["user_id"] or ""),
            job["created_at"],
            escape((job["error"] or {}).get("title", "")),
        )
    Console(emoji=False).print(table)
    if page["next_cursor"]:
        click.echo(f"More: --cursor {page['next_cursor']}")


@jobs.command()
@click.argument("job_id", metavar="ID")
@_at
@_as_json
def show(url: str, job_id: str, as_json: bool) -> None:
    """One job and its variants."""
    _print(_ask(url, "GET", _path(job_id)), url, as_json)


@jobs.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID…")
@_at
@_as_json
def retry(url: str, ids: tuple[str, ...], as_json: bool) -> None:
    """Start failed, dead or cancelled jobs anew."""
    _for_each(url, ids, "POST", "/retry", as_json)


@jobs.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID…")
@_at
@_as_json
def cancel(url: str, ids: tuple[str, ...], as_json: bool) -> None:
    """End jobs that are not finished."""
    _for_each(url, ids, "DELETE", "", as_json)


def _for_each(url: str, ids: tuple[str, ...], method: str, path: str, as_json: bool) -> None:
    """Exit code 1 when it was not possible for all of them."""
    results: list[dict[str, Any]] = []
    for job_id in ids:
        try:
            results.append({"id": job_id, "job": _ask(url, method, _path(job_id) + path)})
        except _Refused as refused:
            results.append({"id": job_id, "error": refused.problem})
    if as_json:
        click.echo(json.dumps(results))
    for result in () if as_json else results:
        said = result["error"]["detail"] if "error" in result else result["job"]["status"]
        click.echo(f"{result['id']}: {said}")
    if any("error" in result for result in results):
        raise SystemExit(1)


def _print(job: dict[str, Any], url: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(job))
        return
    console = Console(emoji=False)
    facts = Table(show_header=False, box=None)
    for name in ("id", "status", "progress", "attempts", "priority", "user_id", "batch_id"):
        facts.add_row(name, escape(str(job[name])) if job[name] is not None else "")
    for name in ("created_at", "started_at", "finished_at", "next_attempt_at"):
        facts.add_row(name, job[name] or "")
    if job["error"]:
        facts.add_row("error", escape(job["error"]["detail"]))
    console.print(facts)
    table = Table("variant", "status", "size", "format", "bytes", "where")
    for one in job["variants"]:
        made = one["status"] == "ok"
        table.add_row(
            escape(one["name"]),
            _coloured(one["status"]),
            f"{one['width']}×{one['height']}" if made else "",
            one["format"] if made else "",
            f"{one['bytes']:,}" if made else "",
            escape(url + one["url"] if made else (one["error"] or {}).get("detail", "")),
        )
    console.print(table)


def _coloured(status: str) -> str:
    colour = _COLOURS.get(status)
    return f"[{colour}]{status}[/]" if colour else status


def _path(job_id: str) -> str:
    return f"/api/jobs/{urllib.parse.quote(job_id, safe='')}"


class _Refused(click.ClickException):
    """The service said no. Exit code 1."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title")))
        self.problem = problem


class _Unreachable(click.ClickException):
    """There is no service. Exit code 3."""

    exit_code = 3


def _ask(url: str, method: str, path: str) -> Any:
    check_url(url)
    key = os.environ.get("OMNISHOT_API_KEY", "")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(url + path, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise _Refused(_problem(error)) from None
    except (OSError, ValueError, HTTPException) as error:
        raise _Unreachable(
            f"No service answers at {url} ({error}); start one with `omnishot serve` or pass --url."
        ) from None


def _problem(error: urllib.error.HTTPError) -> dict[str, Any]:
    try:
        problem = json.load(error)
    except ValueError:
        problem = None
    return problem if isinstance(problem, dict) else {"detail": f"The service answered {error}."}
