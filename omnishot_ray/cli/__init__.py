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


@main.command()
@click.option(
    "--shape",
    default="steps",
    show_default=True,
    type=click.Choice(("steps", "rates", "knee", "spike", "soak", "thousand", "ten-thousand")),
    help="How many users come when.",
)
@click.option("--url", help="A service that runs; without it one is started and ended.")
@click.option("--users", type=click.IntRange(1, 10_000), help="At most so many at a time.")
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
@click.option("--most-errors", type=click.FloatRange(0, 1), help="Share that is still passed.")
@click.option("--most-p95-ms", type=click.FloatRange(0), help="Of all right answers.")
@click.option("--allow-remote", is_flag=True, help="Send load to another machine than this.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
def loadtest(**given: Any) -> None:
    """Send visitors to a service and report. Exit code 1 when a threshold is missed."""
    from omnishot_ray.cli.loadtest import Wanted, run_loadtest

    sys.exit(run_loadtest(Wanted(**given)))
