"""The `omnishot` command. Each command imports what it needs when it runs, so `--help` is quick.

Exit codes: 0 done, 1 some items failed, 2 wrong usage, 3 the environment lacks something.
"""

import gc
import sys
from pathlib import Path
from typing import Any

import click

from omnishot_ray import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="omnishot")
def main() -> None:
    """One image in, every rendition people need out."""


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--profile",
    type=click.Choice(["dev", "prod"]),
    default="dev",
    show_default=True,
    help="prod keeps Ray's token authentication and slow, graceful draining.",
)
@click.option(
    "--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="YAML settings."
)
@click.option("--address", help="Join this Ray cluster instead of starting one here.")
def serve(host: str, port: int, profile: str, config: Path | None, address: str | None) -> None:
    """Run the service in the foreground; a ready line says where."""
    gc.disable()  # until it is ready: what is imported now stays for good
    from omnishot_ray.cli.serve import serve_in_foreground

    sys.exit(serve_in_foreground(host, port, profile, config, address))


@main.command()
@click.argument("sources", nargs=-1, required=True, metavar="IN…", type=Path)
@click.option("--platform", "platforms", multiple=True, help="A preset's name; may be repeated.")
@click.option(
    "-o",
    "--output",
    default=Path("out"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the results.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document, not a table.")
@click.pass_context
def optimize(
    context: click.Context,
    /,
    sources: tuple[Path, ...],
    platforms: tuple[str, ...],
    output: Path,
    as_json: bool,
    **given: Any,
) -> None:
    """Make renditions of files in this process, without Ray. Folders are searched for images."""
    from omnishot_ray.cli.optimize import optimize_files, wanted_options

    try:
        wanted = wanted_options(platforms, {k: v for k, v in given.items() if v is not None})
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    context.exit(optimize_files(sources, wanted, output, as_json=as_json))


def _add_rendition_options(command: click.Command) -> None:
    """One flag for every row of the table of options."""
    from omnishot_ray.imaging.option_table import SPECS

    for spec in SPECS:
        if spec.name != "platform":
            command.params.append(
                click.Option(
                    [f"--{spec.name.replace('_', '-')}", spec.name],
                    metavar=spec.kind.upper(),
                    help=f"{spec.help} [{spec.default}]",
                )
            )


_add_rendition_options(optimize)


@main.command()
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document, not a table.")
def doctor(port: int, as_json: bool) -> None:
    """Say what this machine has and lacks, and how to mend it. Exit code 3 when something lacks."""
    from omnishot_ray.cli.doctor import examine, report

    sys.exit(report(examine(port), as_json=as_json))


@main.group()
def metrics() -> None:
    """Figures of a running service, or of the Parquet that one has written (metrics.uri)."""


def _source_options(command: Any) -> Any:
    """Where figures come from; the same for all commands of the group."""
    for option in (
        click.option("--key", envvar="METRICS_API_KEY", default="", help="API key, where needed."),
        click.option("--from", "stored", metavar="URI", help="Folder or URI of Parquet instead."),
        click.option("--url", default="http://127.0.0.1:8000", show_default=True),
        click.option("--window", default="5m", show_default=True, help="90s, 5m, 2h, 7d."),
        click.option("--table", default="requests", show_default=True, help="Or resources, …"),
    ):
        command = option(command)
    return command


@metrics.command("query")
@_source_options
@click.option("--group-by", default="", metavar="COLUMN,…")
@click.option(
    "--aggregations",
    default="count,rate,avg:total_ms,p95:total_ms,p99:total_ms",
    show_default=True,
    metavar="FUNCTION:COLUMN,…",
)
@click.option("--where", default="", metavar="COLUMN:VALUE|…,…")
@click.option("--step", default="", help="A row for each step of time: 10s, 1m.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document, not a table.")
def metrics_query(url: str, stored: str | None, key: str, as_json: bool, **given: str) -> None:
    """Aggregates of a table, by labels and steps of time."""
    from omnishot_ray.cli.metrics import query

    sys.exit(query({k: v for k, v in given.items() if v}, stored or url, key, as_json))


@metrics.command("export")
@_source_options
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="NAME.parquet, NAME.arrow or NAME.json; without it an Arrow stream to standard output.",
)
def metrics_export(
    url: str, stored: str | None, key: str, output: Path | None, **given: str
) -> None:
    """Samples as they came."""
    from omnishot_ray.cli.metrics import export

    sys.exit(export({k: v for k, v in given.items() if v}, stored or url, key, output))
