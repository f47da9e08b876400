"""`omnishot dashboards`: write Grafana's and Prometheus' files, bring them into a Grafana."""

import json
import os
import sys
from pathlib import Path

import click

from omnishot_ray.cli.output import say_unwritable
from omnishot_ray.errors import ConfigError, OmnishotError

_TOKEN = "GRAFANA_TOKEN"


@click.group()
def dashboards() -> None:
    """Dashboards and alert rules for Grafana and Prometheus."""


@dashboards.command()
@click.option(
    "-o",
    "--output",
    default=Path("dashboards"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the files.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 when a file is not so.")
def render(output: Path, check: bool) -> None:
    """Write dashboards, alert rules and a scrape configuration as files."""
    _need_the_extra()
    from omnishot_ray.dashboards.files import stale_files, write_files

    try:
        changed = stale_files(output) if check else write_files(output)
    except OSError as error:
        sys.exit(say_unwritable(output, error))
    if check:
        for path in changed:
            click.echo(f"{path} is not as it would be written")
        sys.exit(1 if changed else 0)
    for path in changed:
        click.echo(f"wrote {path}")
    if not changed:
        click.echo(f"{output} is as it should be")


@dashboards.command()
@click.option(
    "--grafana", "url", envvar="GRAFANA_URL", required=True, help="Its address. [GRAFANA_URL]"
)
@click.option(
    "--prometheus",
    default="http://127.0.0.1:9090",
    show_default=True,
    help="Address of Prometheus as Grafana reaches it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document, not lines.")
def push(url: str, prometheus: str, as_json: bool) -> None:
    """Bring folder, data source, dashboards and alert rules into a Grafana.

    The token of a service account is read from GRAFANA_TOKEN, not from an option: options can be
    seen by everybody on the machine. What is as it should be is left alone.
    """
    token = os.environ.get(_TOKEN, "").strip()
    if not token:
        raise click.UsageError(f"Set {_TOKEN} to the token of a service account of Grafana.")
    _need_the_extra()
    from omnishot_ray.dashboards.push import push as push_all

    try:
        changes = push_all(url, token, prometheus)
    except (OmnishotError, ConnectionError) as error:
        click.echo(f"omnishot: {error}", err=True)
        sys.exit(_code_of(error))
    if as_json:
        told = [{"kind": c.kind, "name": c.name, "what": c.what} for c in changes]
        click.echo(json.dumps(told, indent=2))
        return
    for change in changes:
        click.echo(f"{change.what:9} {change.kind}: {change.name}")


def _code_of(error: Exception) -> int:
    if isinstance(error, ConnectionError):
        return 3
    return 2 if isinstance(error, ConfigError) else 1


def _need_the_extra() -> None:
    """Exit code 3 where the extra is not installed."""
    try:
        import grafana_client  # noqa: F401
        import grafana_foundation_sdk  # noqa: F401
    except ImportError:
        click.echo("omnishot: install the extra: pip install 'omnishot-ray[dashboards]'", err=True)
        sys.exit(3)
