"""The `omnishot` command. Each command imports what it needs when it runs, so `--help` is quick.

Exit codes: 0 done, 1 some items failed, 2 wrong usage, 3 the environment lacks something.
"""

import gc
import importlib
import os
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


class _Later(click.Group):
    """A group of commands that is imported when it is used."""

    def __init__(self, name: str, module: str, help: str) -> None:
        super().__init__(name, help=help, short_help=help)
        self._module = module

    def _group(self) -> click.Group:
        group = getattr(importlib.import_module(self._module), str(self.name))
        assert isinstance(group, click.Group)
        return group

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """As the group itself would."""
        return self._group().make_context(*args, **extra)

    def invoke(self, context: click.Context) -> Any:
        """As the group itself would."""
        return self._group().invoke(context)


main.add_command(
    _Later("jobs", "omnishot_ray.cli.jobs", "List, show, retry and cancel the jobs of a service.")
)


@main.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE… OUT")
@click.option("--platforms", multiple=True, metavar="NAMES", help="Presets, with commas between.")
@click.option("--group", help="All presets of a group: social, marketplace, web.")
@click.option(
    "--variants",
    "variants_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML with renditions of your own.",
)
@click.option(
    "--to",
    type=click.Choice(["folder", "webdataset", "parquet", "zip"]),
    default="folder",
    show_default=True,
    help="What is written in OUT.",
)
@click.option("--resume", is_flag=True, help="Go on with what is in OUT.")
@click.option("--retry-failed", is_flag=True, help="And try anew what failed for the moment.")
@click.option("--report", is_flag=True, help="Write OUT/report.html.")
@click.option(
    "--on-error",
    type=click.Choice(["skip", "copy", "fail"]),
    default="skip",
    show_default=True,
    help="A picture that fails: only its row, the file as it came, or the end.",
)
@click.option("--max-errors", type=click.IntRange(0), help="End when more have failed in this run.")
@click.option("--match", default="", metavar="GLOB", help="Members to take; else by suffix.")
@click.option("--column", help="Of tables and listings: the one with pictures or addresses.")
@click.option("--shard-size", type=click.IntRange(1), help="Pictures worked on and kept together.")
@click.option("--workers", type=click.IntRange(1), help="Processes, one core each. [all cores]")
@click.option("--address", help="Join this Ray cluster instead of starting one here.")
@click.option("--nice", default=0, show_default=True, type=click.IntRange(0, 19))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document at the end.")
@click.pass_context
def batch(
    context: click.Context,
    /,
    sources: tuple[str, ...],
    platforms: tuple[str, ...],
    group: str | None,
    variants_file: Path | None,
    to: str,
    resume: bool,
    retry_failed: bool,
    report: bool,
    on_error: str,
    max_errors: int | None,
    match: str,
    column: str | None,
    shard_size: int | None,
    workers: int | None,
    address: str | None,
    nice: int,
    as_json: bool,
    **given: Any,
) -> None:
    """Make renditions of folders, archives, tables and listings, by Ray Data; resumable.

    SOURCE is a folder, a glob, .tar, .tar.gz, .tar.zst, .zip, .parquet, .arrow, .jsonl or .csv,
    here or in a bucket (s3://, gs://).
    """
    from omnishot_ray.batch.job import BatchJob, read_renditions, read_variants_file
    from omnishot_ray.cli.batch import run_batch
    from omnishot_ray.errors import ConfigError, RequestError
    from omnishot_ray.settings import load_settings

    *named, out = sources
    try:
        settings = load_settings({}, os.environ)
        job = BatchJob(
            tuple(named),
            out,
            read_renditions(
                platforms,
                group,
                read_variants_file(variants_file) if variants_file else (),
                {k: v for k, v in given.items() if v is not None},
            ),
            to=to,
            on_error=on_error,
            max_errors=max_errors,
            retry_failed=retry_failed,
            match=match,
            column=column,
            shard_members=shard_size or 0,
            limits=settings.limits,
            fetch=settings.fetch,
        )
    except (RequestError, ConfigError) as error:
        raise click.UsageError(str(error)) from None
    context.exit(
        run_batch(
            job,
            resume=resume,
            report=report,
            workers=workers,
            address=address,
            niceness=nice,
            as_json=as_json,
        )
    )


_add_rendition_options(batch)


@main.command()
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document, not a table.")
def doctor(port: int, as_json: bool) -> None:
    """Say what this machine has and lacks, and how to mend it. Exit code 3 when something lacks."""
    from omnishot_ray.cli.doctor import examine, report

    sys.exit(report(examine(port), as_json=as_json))


@main.command()
@click.option(
    "--shape",
    default="steps",
    show_default=True,
    type=click.Choice(("steps", "rates", "knee", "spike", "soak", "thousand", "ten-thousand")),
    help="How many users come when.",
)
@click.option("--url", help="A service that runs; without it one is started and ended.")
@click.option(
    "--users",
    type=click.IntRange(1, 10_000),
    help="The top of the shape; of `rates` the most requests a second.",
)
@click.option("--seconds", type=click.FloatRange(1, 7200), help="Length of one stage.")
@click.option("--mix", default="usual", show_default=True, type=click.Choice(("usual", "plain")))
@click.option("--seed", default=1, show_default=True, type=int)
@click.option("--processes", type=click.IntRange(1, 64), help="Processes that send.")
@click.option(
    "--pictures",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of JPEG, PNG and WebP files to send instead of drawn ones.",
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The HTML page; its JSON goes beside it. [out/loadtest-SHAPE.html]",
)
@click.option(
    "--beside",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The JSON of an earlier run, to compare with.",
)
@click.option("--most-errors", type=click.FloatRange(0, 1), help="Share, 429 left out.")
@click.option("--most-shed", type=click.FloatRange(0, 1), help="Share of 429.")
@click.option("--most-p95-ms", type=click.FloatRange(0), help="Of all right answers.")
@click.option("--key-env", metavar="NAME", help="Environment variable that holds the API key.")
@click.option("--allow-remote", is_flag=True, help="Send load to another machine than this.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
def loadtest(**given: Any) -> None:
    """Send visitors to a service and report. Exit code 1 when a threshold is missed."""
    from omnishot_ray.cli.loadtest import Wanted, run_loadtest

    sys.exit(run_loadtest(Wanted(**given)))


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

    sys.exit(query({k: v for k, v in given.items() if v}, url, stored, key, as_json))


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

    sys.exit(export({k: v for k, v in given.items() if v}, url, stored, key, output))


@metrics.command("analyze")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True)
@click.option("--key", envvar="METRICS_API_KEY", default="", help="API key, where needed.")
@click.option("--window", default="1h", show_default=True, help="90s, 5m, 2h, 7d.")
@click.option("--change-at", default="", metavar="TIME", help="Its impact: Unix s or ISO 8601.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document, not tables.")
def metrics_analyze(url: str, key: str, window: str, change_at: str, as_json: bool) -> None:
    """Trends, anomalies, recommendations and costs."""
    from omnishot_ray.cli.analyze import analyze

    sys.exit(analyze(url, key, window, change_at, as_json))


def _add_groups() -> None:
    from omnishot_ray.cli.dashboards import dashboards

    main.add_command(dashboards)


_add_groups()
