"""What commands that write files have in common."""

from pathlib import Path

import click

_LACKING = 3


def say_unwritable(output: Path, error: OSError) -> int:
    """A sentence instead of a traceback. Returns the exit code: there is no place to write to."""
    where = click.format_filename(error.filename or output)
    why = error.strerror or error
    click.echo(f"omnishot: {where} cannot be written ({why}); see --output.", err=True)
    return _LACKING
