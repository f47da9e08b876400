"""From a container to its shards: the same members in the same order give the same shards.

A generator: what is in memory is one shard, the window of an index, and a filter of fixed size.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from urllib.parse import unquote, urlsplit

from omnishot_ray.batch.job import BatchJob
from omnishot_ray.batch.listings import read_listing
from omnishot_ray.batch.members import (
    Address,
    At,
    Container,
    Found,
    Inline,
    Listed,
    Member,
    Shard,
    Whole,
    shard_id,
)
from omnishot_ray.batch.names import Stems, UnsafeName, safe_name, whole_text
from omnishot_ray.batch.places import Entry, Place
from omnishot_ray.batch.sources import glob_matcher, is_wanted, kind_of, relative
from omnishot_ray.batch.spans import Fault
from omnishot_ray.batch.tables import index_arrow, index_parquet
from omnishot_ray.batch.tars import index_tar, stream_tar
from omnishot_ray.batch.zips import index_zip

logger = logging.getLogger(__name__)

_BY_NAME = ("folder", "tar", "tar.gz", "tar.zst", "tar.bz2", "zip")
"""Kinds whose members are pictures or not by their names."""
_MANY_ROWS = 8
"""A row group is cut when the shard has so many times the members it should have."""


def plan_shards(container: Container, job: BatchJob, fingerprint: str) -> Iterator[Shard]:
    """The shards of a container, in order, one at a time."""
    return cut(container, index(container, job), job, fingerprint)


def index(container: Container, job: BatchJob) -> Iterator[Found]:
    """Everything in a container, by its index. What cannot be read is a fault, not an exception."""
    try:
        yield from _index(container, job)
    except OSError as error:
        detail = f"The {container.kind} cannot be read: {error.strerror or 'the store says no'}."
        yield Found("", -1, Fault("source-unreadable", detail))
    except Exception:  # what nobody has thought of costs its row too
        logger.exception("the index failed", extra={"source": container.source})
        yield Found("", -1, Fault("source-unreadable", f"The {container.kind} cannot be read on."))


def _index(container: Container, job: BatchJob) -> Iterator[Found]:
    place = container.place
    match container.kind:
        case "folder":
            yield from _index_folder(container, Place.parse(job.out))
        case "tar":
            yield from index_tar(place)
        case "tar.gz" | "tar.zst" | "tar.bz2" as kind:
            wanted = partial(is_wanted, match=job.match)
            yield from stream_tar(place, kind, job.max_source_bytes, wanted)
        case "zip":
            yield from index_zip(place)
        case "parquet":
            yield from _resolved(index_parquet(place, job.column), place)
        case "arrow":
            yield from _resolved(index_arrow(place, job.column), place)
        case _:
            yield from _resolved(read_listing(place, container.kind, job.column), place)


def _index_folder(container: Container, out: Place) -> Iterator[Found]:
    wanted = glob_matcher(container.pattern)
    for entry in container.place.walk(without=out):
        name = relative(entry, container.place)
        if not wanted(name):
            continue
        yield _file(name, entry)


def _file(name: str, entry: Entry) -> Found:
    if entry.size < 0:
        detail = "It is a link; links are not followed. Name the folder that it leads to."
        return Found(name, 0, Fault("unsafe-member", detail))
    return Found(name, entry.size, Whole(entry.place), str(entry.changed_ns))


def _resolved(found: Iterator[Found | Listed], listing: Place) -> Iterator[Found]:
    """Addresses of a listing as members: of the web, of a store, or beside the listing."""
    for item in found:
        if isinstance(item, Listed):
            yield replace(_address(item.text, listing), stands_for=item.stands_for)
        else:
            yield item


def _address(text: str, listing: Place) -> Found:
    try:
        if text.startswith(("http://", "https://")):
            text = whole_text(text)
            parts = urlsplit(text)
            return Found(f"{parts.hostname}/{unquote(parts.path)}", -1, Address(text), text)
        if "://" in text and not text.startswith("file://"):
            place = Place.parse(text)
            if place.is_local:
                raise ValueError("it has to be a path, or begin with file, http, https, s3 or gs")
            if place.query:  # any host could stand in it
                raise ValueError("how a store is asked is said with the source, not in a listing")
            return Found(place.path, -1, Whole(replace(place, query=listing.query)))
        if text.startswith(("/", "file://")):
            if not listing.is_local:
                raise ValueError("a listing in a store may not name files of this machine")
            return _named_file(text.removeprefix("file://"), Place.parse(text))
        return _named_file(text, listing.parent / safe_name(text))
    except ValueError as error:
        return Found(text[:200], -1, Fault("bad-address", f"{error}."))


def _named_file(name: str, place: Place) -> Found:
    """With its size and time, if it is of this machine; a store would be asked for each."""
    identity = ""
    if place.is_local:
        with suppress(OSError, ValueError):  # what is not there is told when it is read
            stat = os.stat(place.path)
            identity = f"{stat.st_size} {stat.st_mtime_ns}"
    return Found(name, -1, Whole(place), identity)


def cut(
    container: Container, found: Iterator[Found], job: BatchJob, fingerprint: str
) -> Iterator[Shard]:
    """Members named and put into shards: up to so many, or so many bytes."""
    shard: list[tuple[Found, Member]] = []
    size = others = ordinal = count = stands_for = 0
    stems = Stems()

    def close() -> Shard:
        members = tuple(member for _, member in shard)
        id = shard_id(container, fingerprint, shard)
        return Shard(container, ordinal, id, members, others, stands_for)

    limit = job.members_per_shard
    for item in found:
        if not _is_member(item, container, job):
            others += 1
            continue
        if count >= job.max_members:
            item = Found("", -1, Fault("archive-bomb", f"More than {count} members."))
        is_full = len(shard) >= limit or size + max(0, item.size) > job.shard_bytes
        if shard and is_full and (item.may_cut or len(shard) >= _MANY_ROWS * limit):
            yield close()
            shard, size, others, stands_for, ordinal = [], 0, 0, 0, ordinal + 1
        shard.append((item, _named(item, count, container, stems, job)))
        size += max(0, item.size) if not isinstance(item.at, Fault) else 0
        stands_for += item.stands_for
        count += 1
        if count > job.max_members:
            break
    if shard:
        yield close()


def _is_member(found: Found, container: Container, job: BatchJob) -> bool:
    if not found.name or container.kind not in _BY_NAME:
        return True
    if container.kind == "folder" and isinstance(found.at, Whole) and kind_of(found.name):
        return False  # it is a container of its own
    return not found.name.endswith("/") and is_wanted(found.name, job.match)


def _named(found: Found, index: int, container: Container, stems: Stems, job: BatchJob) -> Member:
    at: At = found.at
    shown = whole_text(found.name) or "_archive"
    try:
        name = safe_name(shown)
    except UnsafeName as error:
        name = f"_refused/{index:08d}"
        at = at if isinstance(at, Fault) else Fault("unsafe-member", str(error))
    if not isinstance(at, Fault | Inline) and found.size > job.max_source_bytes:
        detail = f"The member has {found.size} bytes; at most {job.max_source_bytes} are read."
        at = Fault("source-too-large", detail)
    stem = stems.take(name, index)
    if container.prefix:
        stem = f"{container.prefix}/{stem}"
    return Member(index, shown, stem, found.size, at)
