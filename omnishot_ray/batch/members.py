"""What a job is made of: containers, their members, and shards of these.

All are plain frozen values: they are planned in one process and worked on in another.
"""

import hashlib
import json
from dataclasses import dataclass

from omnishot_ray.batch.names import whole_text
from omnishot_ray.batch.places import Place
from omnishot_ray.batch.spans import Fault


@dataclass(frozen=True, slots=True)
class Container:
    """One archive, table, listing or folder. `ordinal` is its place among those of the job."""

    ordinal: int
    place: Place
    kind: str
    """`folder`, `tar`, `tar.gz`, `tar.zst`, `tar.bz2`, `zip`, `parquet`, `arrow`, `jsonl` or
    `csv`."""
    size: int = 0
    """Bytes of pictures or of the file, for the progress; 0 where it is not known."""
    changed_ns: int = 0
    prefix: str = ""
    """The folder in the output that keeps its members apart from those of others."""
    pattern: str = ""
    """Of a folder: the glob that names have to match, relative to it."""

    @property
    def source(self) -> str:
        """How the manifest names it: the address without its query."""
        return whole_text(str(self.place))


@dataclass(frozen=True, slots=True)
class Whole:
    """A file of its own."""

    place: Place


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes of the container as they are."""

    offset: int


@dataclass(frozen=True, slots=True)
class Zipped:
    """A member of a zip: where its local header is, and how it was packed."""

    offset: int
    packed: int
    """Bytes in the archive."""
    method: int
    crc: int


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: in which row group or record batch, and the place in it."""

    group: int
    index: int


@dataclass(frozen=True, slots=True)
class Address:
    """Somewhere on the web."""

    url: str


@dataclass(frozen=True, slots=True)
class Inline:
    """The bytes themselves: of archives that can only be read from their beginning."""

    data: bytes


At = Whole | Range | Zipped | Row | Address | Inline | Fault


@dataclass(frozen=True, slots=True)
class Found:
    """One member as an index tells of it, before it is named and put into a shard."""

    name: str
    size: int
    """Bytes; -1 where the index does not say."""
    at: At
    identity: str = ""
    """What else tells it from another of the same name and place: of a file, its time."""
    may_cut: bool = True
    """Whether a shard may begin with it: row groups are read as a whole."""
    stands_for: int = 0
    """Bytes of the table or listing that it comes from, for the progress."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An address or path, as a table or listing has it."""

    text: str
    stands_for: int


@dataclass(frozen=True, slots=True)
class Member:
    """One picture to be worked on. `index` is its place among the pictures of the container."""

    index: int
    name: str
    stem: str
    """The beginning of the names of its outputs; no other member of the job has it."""
    size: int
    at: At


@dataclass(frozen=True, slots=True)
class Shard:
    """Members that are worked on, written and committed together."""

    container: Container
    ordinal: int
    id: str
    members: tuple[Member, ...]
    others: int = 0
    """Members that are no pictures by name, passed over on the way."""
    stands_for: int = 0
    """Bytes of the container, where the sizes of members do not say."""

    @property
    def key(self) -> str:
        """Its place in the job: `000002/00000014`."""
        return f"{self.container.ordinal:06d}/{self.ordinal:08d}"

    @property
    def label(self) -> str:
        """The same for the name of a file."""
        return f"{self.container.ordinal:06d}-{self.ordinal:06d}"

    @property
    def bytes_of_members(self) -> int:
        """As far as the plan knows them, in terms of the container's size."""
        return self.stands_for + sum(max(0, member.size) for member in self.members)

    @property
    def carries_bytes(self) -> bool:
        """Whether pictures travel with the shard, read as they were planned."""
        return any(isinstance(member.at, Inline) for member in self.members)


def shard_id(container: Container, job: str, members: list[tuple[Found, Member]]) -> str:
    """A hash of what is read (source and ranges) and of what is made of it (`job`)."""
    digest = hashlib.sha256(job.encode())
    source = (str(container.place), container.kind, container.changed_ns, container.prefix)
    if container.kind != "folder":
        source = (*source, container.size)  # type: ignore[assignment]
    digest.update(repr(source).encode())
    for found, member in members:
        at = member.at
        where = at.data and hashlib.sha256(at.data).hexdigest() if isinstance(at, Inline) else at
        line = [member.index, member.name, member.stem, member.size, found.identity, repr(where)]
        digest.update(json.dumps(line).encode())
    return digest.hexdigest()[:32]
