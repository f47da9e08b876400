"""A plain script with stock Pillow: `python pillow_pool.py ARCHIVE OUT WIDTHS QUALITY PROCESSES`.

Run by an interpreter that has Pillow and nothing of ours. A process reads its members from the tar
by itself; `draft` lets libjpeg decode to a smaller size, as a good script would.
"""

import io
import json
import sys
import tarfile
from multiprocessing import Pool
from pathlib import Path
from time import perf_counter

from PIL import Image

ARCHIVE, OUT = sys.argv[1], Path(sys.argv[2])
WIDTHS = [int(width) for width in sys.argv[3].split(",")]
QUALITY, PROCESSES = map(int, sys.argv[4:6])


def make(member: tuple[str, int, int]) -> int:
    name, offset, size = member
    with open(ARCHIVE, "rb") as file:
        file.seek(offset)
        data = file.read(size)
    image = Image.open(io.BytesIO(data))
    ratio = image.height / image.width
    image.draft("RGB", (max(WIDTHS), round(max(WIDTHS) * ratio)))
    written = 0
    for width in WIDTHS:
        path = OUT / f"{Path(name).stem}.{width}.jpg"
        made = image.resize((width, round(width * ratio)), Image.Resampling.LANCZOS)
        made.save(path, "JPEG", quality=QUALITY)
        written += path.stat().st_size
    return written


if __name__ == "__main__":
    began = perf_counter()
    OUT.mkdir(parents=True)
    with tarfile.open(ARCHIVE) as archive:
        members = [(item.name, item.offset_data, item.size) for item in archive]
    with Pool(PROCESSES) as pool:
        sizes = list(pool.imap_unordered(make, members, chunksize=16))
    print(
        json.dumps(
            {
                "seconds": perf_counter() - began,
                "made": len(sizes) * len(WIDTHS),
                "bytes": sum(sizes),
            }
        )
    )
