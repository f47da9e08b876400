"""Where renditions go: files in folders, or one tar, zip or Parquet file for each shard.

Nothing in them depends on when or how often they were written: times of members are 1 January 1980,
the order is that of the plan.
"""

import io
import json
import os
import shutil
import tarfile
import zipfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from omnishot_ray.batch.manifest import MANIFEST, ManifestRow, table_of
from omnishot_ray.batch.members import Shard
from omnishot_ray.batch.places import Place, move_files, scratch_of

_EPOCH = 315_532_800
"""1 January 1980 in Unix seconds, the first day that a zip can name."""
_BLOCK = 1 << 20
_BYTES_PER_ROW_GROUP = 16 << 20


class Writer(Protocol):
    """Takes the renditions of one shard, in order."""

    folder: str
    """Where who makes a rendition may put it, for `add_file`; empty where bytes are wanted."""

    def add(self, stem: str, rendition: str, extension: str, data: bytes) -> tuple[str, str]:
        """Keep one; returns the file relative to the output, and the member in it."""
        ...

    def add_file(self, stem: str, rendition: str, extension: str, path: str) -> tuple[str, str]:
        """Keep one that lies in `folder` already."""
        ...

    def add_row(self, row: ManifestRow, data: bytes) -> None:
        """What is known of the one just added, for outputs that keep it beside the picture."""
        ...

    def finish(self) -> None:
        """Give everything its final name, for good. Raises `OSError`."""
        ...

    def abandon(self) -> None:
        """Let go of what is open; what is half written is removed when a run begins or ends."""
        ...


def open_writer(out: Place, to: str, shard: Shard) -> Writer:
    """The writer of a shard."""
    scratch = _scratch(out, shard) if out.is_local else None
    match to:
        case "folder":
            return _Folder(out, scratch)
        case "webdataset":
            return _WebDataset(out, scratch, f"shard-{shard.label}.tar")
        case "zip":
            return _Zip(out, scratch, f"shard-{shard.label}.zip")
        case _:
            return _Parquet(out, scratch, f"part-{shard.label}.parquet")


def clear_scratch(out: Place) -> None:
    """Remove what interrupted runs left half written."""
    if out.is_local:
        shutil.rmtree(scratch_of(out).path, ignore_errors=True)


def _scratch(out: Place, shard: Shard) -> Path:
    folder = scratch_of(out).path
    os.makedirs(folder, exist_ok=True)
    return Path(mkdtemp(prefix=f"{shard.label}-", dir=folder))


class _Folder:
    """`photo.instagram-post.jpg`, in the folders of the source."""

    def __init__(self, out: Place, scratch: Path | None) -> None:
        self._out = out
        self.folder = str(scratch or "")
        self._moves: list[tuple[str, str]] = []

    def add(self, stem: str, rendition: str, extension: str, data: bytes) -> tuple[str, str]:
        if self.folder:
            partial = f"{self.folder}/whole-{len(self._moves)}"
            with open(partial, "wb") as file:
                file.write(data)
            return self.add_file(stem, rendition, extension, partial)
        name = _name(stem, rendition, extension)
        (self._out / name).write(data)
        return name, ""

    def add_file(self, stem: str, rendition: str, extension: str, path: str) -> tuple[str, str]:
        name = _name(stem, rendition, extension)
        self._moves.append((path, (self._out / name).path))
        return name, ""

    def add_row(self, row: ManifestRow, data: bytes) -> None:
        del row, data

    def finish(self) -> None:
        if self.folder:
            move_files(self._moves)
            # A picture that ended its process may have left a file that nobody wants.
            shutil.rmtree(self.folder, ignore_errors=True)

    def abandon(self) -> None:
        return


class _Packed:
    """One file, written beside and moved or uploaded when it is whole."""

    folder = ""
    _file: IO[bytes]

    def __init__(self, out: Place, scratch: Path | None, name: str) -> None:
        self._out, self._scratch, self._name = out, scratch, name
        # Without a name where it is uploaded: nothing is left of it by who is killed.
        self._file = open(scratch / name, "wb") if scratch else TemporaryFile()  # noqa: SIM115

    def add_file(self, stem: str, rendition: str, extension: str, path: str) -> tuple[str, str]:
        del stem, rendition, extension
        raise AssertionError(path)

    def add_row(self, row: ManifestRow, data: bytes) -> None:
        del row, data

    def finish(self) -> None:
        self._complete()
        target = self._out / self._name
        if self._scratch:
            self._file.close()
            move_files([(str(self._scratch / self._name), target.path)])
            shutil.rmtree(self._scratch, ignore_errors=True)
        else:
            target.upload(self._file)
            self._file.close()

    def abandon(self) -> None:
        for close in (self._complete, self._file.close):
            with suppress(OSError, ValueError):  # what is still to be written has no room
                close()

    def _complete(self) -> None:
        raise NotImplementedError


class _WebDataset(_Packed):
    """A tar of samples: `key.rendition.jpg` with `key.rendition.json` beside it.

    The key ends at the first dot of the last part of a name, so it has none itself
    (https://github.com/webdataset/webdataset, "The WebDataset Format").
    """

    def __init__(self, out: Place, scratch: Path | None, name: str) -> None:
        super().__init__(out, scratch, name)
        self._tar = tarfile.open(  # noqa: SIM115 - closed in _complete
            fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT
        )

    def add(self, stem: str, rendition: str, extension: str, data: bytes) -> tuple[str, str]:
        folder, slash, last = stem.rpartition("/")
        # Written so that no two stems become one key.
        key = last.replace("~", "~~").replace(".", "~d")
        entry = f"{folder}{slash}{key}.{rendition}.{extension}"
        self._put(entry, data)
        return self._name, entry

    def add_row(self, row: ManifestRow, data: bytes) -> None:
        del data
        text = json.dumps(asdict(row), sort_keys=True, ensure_ascii=False)
        self._put(f"{row.entry.rpartition('.')[0]}.json", text.encode())

    def _put(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = len(data), _EPOCH, 0o644
        self._tar.addfile(info, io.BytesIO(data))

    def _complete(self) -> None:
        self._tar.close()


class _Zip(_Packed):
    """Stored, not deflated: pictures do not get smaller."""

    def __init__(self, out: Place, scratch: Path | None, name: str) -> None:
        super().__init__(out, scratch, name)
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED)

    def add(self, stem: str, rendition: str, extension: str, data: bytes) -> tuple[str, str]:
        entry = _name(stem, rendition, extension)
        info = zipfile.ZipInfo(entry, (1980, 1, 1, 0, 0, 0))
        info.external_attr = 0o644 << 16
        info.create_system = 3
        self._zip.writestr(info, data)
        return self._name, entry

    def _complete(self) -> None:
        self._zip.close()


class _Parquet(_Packed):
    """A row for each rendition: what the manifest says, and the bytes in `data`."""

    _SCHEMA = MANIFEST.append(pa.field("data", pa.binary()))

    def __init__(self, out: Place, scratch: Path | None, name: str) -> None:
        super().__init__(out, scratch, name)
        # Pictures do not get smaller, and statistics of them are of no use.
        self._writer = pq.ParquetWriter(
            self._file,
            self._SCHEMA,
            compression={**dict.fromkeys(MANIFEST.names, "zstd"), "data": "none"},
            use_dictionary=[n for n in MANIFEST.names if n not in ("sha256_in", "sha256_out")],
            write_statistics=MANIFEST.names,
        )
        self._rows: list[ManifestRow] = []
        self._data: list[bytes] = []
        self._size = 0

    def add(self, stem: str, rendition: str, extension: str, data: bytes) -> tuple[str, str]:
        del data
        return self._name, _name(stem, rendition, extension)

    def add_row(self, row: ManifestRow, data: bytes) -> None:
        self._rows.append(row)
        self._data.append(data)
        self._size += len(data)
        if self._size >= _BYTES_PER_ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        columns: list[Any] = table_of(self._rows, MANIFEST).columns
        data = pa.array(self._data, pa.binary())
        self._writer.write_table(pa.Table.from_arrays([*columns, data], schema=self._SCHEMA))
        self._rows, self._data, self._size = [], [], 0

    def _complete(self) -> None:
        if self._rows:
            self._flush()
        self._writer.close()


def _name(stem: str, rendition: str, extension: str) -> str:
    return f"{stem}.{rendition}.{extension}"
