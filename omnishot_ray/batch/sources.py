"""From what a user names to containers: archives, tables and listings by suffix, and folders."""

import fnmatch
import glob
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from omnishot_ray.batch.members import Container
from omnishot_ray.batch.names import Stems, is_picture, safe_name
from omnishot_ray.batch.places import Entry, Place
from omnishot_ray.errors import FieldError, InvalidParameters

_KINDS = {
    ".tar": "tar",
    ".tar.gz": "tar.gz",
    ".tgz": "tar.gz",
    ".tar.zst": "tar.zst",
    ".tar.zstd": "tar.zst",
    ".tzst": "tar.zst",
    ".tar.bz2": "tar.bz2",
    ".zip": "zip",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
}
_MAGIC = re.compile(r"[*?\[]")


def kind_of(name: str) -> str | None:
    """The kind of an archive, table or listing by its suffix; None for anything else."""
    lower = name.lower()
    return next((kind for end, kind in _KINDS.items() if lower.endswith(end)), None)


def find_containers(sources: Sequence[str], out: Place, match: str = "") -> list[Container]:
    """What the sources hold, in an order that is the same every time.

    The loose pictures of a folder or glob are one container; archives, tables and listings in it
    are one each. Members of several containers are kept apart by a folder for each. What is in
    `out` is left out.

    Raises `InvalidParameters` where there is nothing, or a folder is the output too.
    """
    found: list[Container] = []
    for source in sources:
        try:
            before = len(found)
            found += _containers_of(source, out, match)
        except (ValueError, OSError) as error:
            raise _invalid(f"{source!r} cannot be read: {error}") from None
        if len(found) == before:
            raise _invalid(f"{source!r}: there are no pictures, archives, tables or listings")
    stems = Stems()
    return [
        replace(
            container,
            ordinal=ordinal,
            prefix=_prefix(container, stems, ordinal) if len(found) > 1 else "",
        )
        for ordinal, container in enumerate(found)
    ]


def _prefix(container: Container, stems: Stems, ordinal: int) -> str:
    name = container.place.name
    if container.kind != "folder":
        lower = name.lower()
        end = max((e for e in _KINDS if lower.endswith(e)), key=len)
        name = name[: -len(end)] or name
    return stems.take(safe_name(name or "root"), ordinal)


def _containers_of(source: str, out: Place, match: str) -> Iterator[Container]:
    place = Place.parse(source)
    entry = place.entry()
    if entry is not None:
        kind = kind_of(place.name)
        if kind is None:
            pattern = glob.escape(place.name)
            yield Container(0, place.parent, "folder", entry.size, pattern=pattern)
        else:
            yield Container(0, place, kind, entry.size, entry.changed_ns)
    elif place.is_folder():
        yield from _in_folder(place, "", out, match)
    else:
        root, pattern = _split_glob(place)
        yield from _in_folder(root, pattern, out, match)


def _split_glob(place: Place) -> tuple[Place, str]:
    """The folder to walk, and the glob in it. A folder that is there is taken as it is named."""
    parts = place.path.split("/")
    for at, part in enumerate(parts):
        root = replace(place, path="/".join(parts[: at + 1]))
        if _MAGIC.search(part) and not root.is_folder():
            return replace(place, path="/".join(parts[:at]) or "/"), "/".join(parts[at:])
    raise ValueError("there is no such file or folder")


def _in_folder(root: Place, pattern: str, out: Place, match: str) -> Iterator[Container]:
    if (root.scheme, root.real.path) == (out.scheme, out.real.path):
        raise ValueError("it is the output too, whose renditions would be made again; name another")
    wanted = glob_matcher(pattern)
    loose = 0
    has_loose = False
    archives: list[Container] = []
    for entry in root.walk(without=out):
        name = relative(entry, root)
        if not wanted(name):
            continue
        kind = kind_of(name)
        if kind is not None and entry.size >= 0:
            archives.append(Container(0, entry.place, kind, entry.size, entry.changed_ns))
        elif is_wanted(name, match):
            has_loose = True
            loose += max(0, entry.size)
    if has_loose:
        yield Container(0, root, "folder", loose, pattern=pattern)
    yield from archives


def relative(entry: Entry, root: Place) -> str:
    """The name of a file within the folder that was walked."""
    return entry.place.path[len(root.path.rstrip("/")) + 1 :]


def is_wanted(name: str, match: str) -> bool:
    """Whether a member is to be worked on: by the user's glob, or by a picture's suffix."""
    if not match:
        return is_picture(name)
    return fnmatch.fnmatchcase(name, match) or fnmatch.fnmatchcase(name.rpartition("/")[2], match)


def glob_matcher(pattern: str) -> Callable[[str], bool]:
    """`*` stays in its folder, `**/` is any folders; an empty pattern takes everything."""
    if not pattern:
        return lambda _: True
    expression = ""
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            expression += r"(?:[^/]+/)*"
            at += 3
        elif pattern.startswith("**", at):
            expression += ".*"
            at += 2
        elif pattern[at] == "*":
            expression += "[^/]*"
            at += 1
        elif pattern[at] == "?":
            expression += "[^/]"
            at += 1
        elif pattern[at] == "[" and (end := pattern.find("]", at + 2)) > 0:
            inside = re.sub(r"[\\\[]", r"\\\g<0>", pattern[at + 1 : end])
            inside = f"^{inside[1:]}" if inside[0] == "!" else inside
            expression += f"[{inside}]"
            at = end + 1
        else:
            expression += re.escape(pattern[at])
            at += 1
    compiled = re.compile(expression)
    return lambda name: compiled.fullmatch(name) is not None


def _invalid(detail: str) -> InvalidParameters:
    return InvalidParameters(detail, (FieldError("sources", detail),))
