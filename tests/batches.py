"""Archives made on the spot, and outputs compared."""

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from omnishot_ray.batch.job import BatchJob, read_renditions
from omnishot_ray.batch.members import Container
from omnishot_ray.batch.places import Place
from omnishot_ray.batch.run import Run, Summary, work_here
from tests.pictures import encode, scene

SMALL = read_renditions(variants=[{"name": "small", "width": 16}])
CHANGING = frozenset({"timings.parquet", "run.json", "report.html"})
"""Files that tell when and how fast: all others are the same, whatever is interrupted."""


def photo(number: int = 0, side: int = 24) -> bytes:
    """A small JPEG that no other number gives."""
    return encode(scene(side + number % 50, side + number // 50), "JPEG", quality=80)


def photos(count: int) -> dict[str, bytes]:
    return {f"folder-{n % 3}/photo {n:04d}.jpg": photo(n) for n in range(count)}


def write_tar(path: Path, members: Mapping[str, bytes], mode: str = "w", **info: Any) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            item = tarfile.TarInfo(name)
            item.size = len(data)
            for key, value in info.items():
                setattr(item, key, value)
            archive.addfile(item, io.BytesIO(data))
    return path


def write_zip(path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write_folder(path: Path, members: Mapping[str, bytes]) -> Path:
    for name, data in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def container(path: Path, kind: str, **given: Any) -> Container:
    stat = path.stat()
    return Container(0, Place.parse(str(path)), kind, stat.st_size, stat.st_mtime_ns, **given)


def job_of(*sources: Path, out: Path, **given: Any) -> BatchJob:
    given.setdefault("renditions", SMALL)
    return BatchJob(tuple(map(str, sources)), str(out), **given)


def make(*sources: Path, out: Path, resume: bool = False, **given: Any) -> Summary:
    """The whole job in this process and its engine's."""
    return work_here(Run(job_of(*sources, out=out, **given), resume=resume))


def rows(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out / "manifest.parquet").to_pylist()


def errors(out: Path) -> dict[str, str]:
    """Error code by member."""
    return {row["member"]: row["error"] for row in rows(out) if row["error"]}


def digests(out: Path) -> dict[str, str]:
    """SHA-256 of every file that has to be the same, by its path; folders count too."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.name in CHANGING or name.startswith(".omnishot/timings"):
            continue
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return found


def lines(path: Path, values: Iterable[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(value)}\n" for value in values))
    return path
