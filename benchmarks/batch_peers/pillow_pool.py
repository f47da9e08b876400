"""A plain script with stock Pillow: `python pillow_pool.py ARCHIVE OUT WIDTH QUALITY PROCESSES`.

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
WIDTH, QUALITY, PROCESSES = map(int, sys.argv[3:6])


def make(member: tuple[str, int, int]) -> int:
    name, offset, size = member
    with open(ARCHIVE, "rb") as file:
        file.seek(offset)
        data = file.read(size)
    image = Image.open(io.BytesIO(data))
    height = round(image.height * WIDTH / image.width)
    image.draft("RGB", (WIDTH, height))
    image = image.resize((WIDTH, height), Image.Resampling.LANCZOS)
    path = OUT / f"{Path(name).stem}.jpg"
    image.save(path, "JPEG", quality=QUALITY)
    return path.stat().st_size


if __name__ == "__main__":
    began = perf_counter()
    OUT.mkdir(parents=True)
    with tarfile.open(ARCHIVE) as archive:
        members = [(item.name, item.offset_data, item.size) for item in archive]
    with Pool(PROCESSES) as pool:
        sizes = list(pool.imap_unordered(make, members, chunksize=16))
    print(json.dumps({"seconds": perf_counter() - began, "made": len(sizes), "bytes": sum(sizes)}))
