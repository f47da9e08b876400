"""Who is there, as far as this process has been told: the replicas, and its own place among the
gateways.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A gateway among its like: its number of all `of` them, its number on its node, the node."""

    rank: int
    local_rank: int
    of: int
    node: str


_running: dict[str, int] = {}
_places: list[Place] = []


def note_replicas(deployment: str, count: int) -> None:
    """Take note of the number of running replicas."""
    _running[deployment] = count


def count_replicas(deployment: str) -> int:
    """The number last noted, 0 before that."""
    return _running.get(deployment, 0)


def note_place(place: Place) -> None:
    """Take note of where this gateway stands."""
    _places[:] = [place]


def find_place() -> Place | None:
    """The place last noted; None in a process that is no gateway."""
    return _places[0] if _places else None


def measure_distances(nodes: Sequence[str], place: Place) -> list[int]:
    """In which order a gateway turns to replicas that are alike to it: 0 first, each number once.

    `nodes` are those of the replicas, in an order that all gateways agree on. Each begins at its
    own share, on its own node as long as there are replicas, so that few meet at the same one
    although none knows what the others have sent ("deterministic subsetting", B. Beyer et al.,
    "Site Reliability Engineering", 2016, chapter 20).
    """
    share = len(nodes) / place.of
    near = [at for at, node in enumerate(nodes) if node == place.node]
    far = [at for at, node in enumerate(nodes) if node != place.node]
    distances = [0] * len(nodes)
    passed = 0
    for group, rank in ((near, place.local_rank), (far, place.rank)):
        for at, replica in enumerate(group):
            distances[replica] = passed + (at - int(rank * share)) % len(group)
        passed += len(group)
    return distances
