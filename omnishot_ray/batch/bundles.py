"""Shards are handed to workers by the row: how many share one."""

from collections.abc import Iterable, Iterator

from omnishot_ray.batch.members import Shard
from omnishot_ray.batch.worker import ShardReport

_ROW_SHARE = 32
_ROW_SHARDS_MOST = 16
_ROW_BYTES = 64 << 20
"""A row holds a thirty-second of the shards that its planner has handed out before, and pictures of
so many bytes at most: what one worker still has to do when the others have run out stays a small
part of the whole, and reports come every few seconds."""


def bundled(planned: Iterable[Shard | ShardReport]) -> Iterator[list[Shard | ShardReport]]:
    """Shards by the row: one at first, more later; at most one that carries bytes."""
    bundle: list[Shard | ShardReport] = []
    handed_out, held_bytes = 0, 0
    for one in planned:
        bundle.append(one)
        carries_bytes = False
        if isinstance(one, Shard):  # of what is done no bytes are still to be worked on
            held_bytes += one.bytes_of_members
            carries_bytes = one.carries_bytes
        room = min(_ROW_SHARDS_MOST, handed_out // _ROW_SHARE)
        if len(bundle) >= room or held_bytes >= _ROW_BYTES or carries_bytes:
            handed_out += len(bundle)
            yield bundle
            bundle, held_bytes = [], 0
    if bundle:
        yield bundle
