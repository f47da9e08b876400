"""How many replicas of a deployment run, as far as this process has been told."""

_running: dict[str, int] = {}


def note_replicas(deployment: str, count: int) -> None:
    """Take note of the number of running replicas."""
    _running[deployment] = count


def count_replicas(deployment: str) -> int:
    """The number last noted, 0 before that."""
    return _running.get(deployment, 0)
