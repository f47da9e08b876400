"""What commands that ask a service have in common."""

import click


def check_url(url: str) -> None:
    """Raises `UsageError` for what is no address of a service."""
    if not url.startswith(("http://", "https://")):
        raise click.UsageError("--url has to begin with http:// or https://")
