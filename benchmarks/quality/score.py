"""SSIMULACRA2 of pairs of files; runs in the environment of `environment.py`.

Reads a JSON object from stdin, `{"cache": file, "pairs": [[reference, encoded], …]}`, and writes a
score a line. A pair of pixels is scored once: encoders that write the same picture in other bytes
share the score. All cores of the process's affinity work, since no time is measured here.
"""

import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from pathlib import Path

from PIL import Image
from ssimulacra2 import compute_ssimulacra2

SAVE_EVERY = 20


def main() -> None:
    job = json.load(sys.stdin)
    file = Path(job["cache"])
    scores: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
    keys = [f"{digest(reference)} {digest(encoded)}" for reference, encoded in job["pairs"]]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        of_key = dict(zip(keys, job["pairs"], strict=True))
        new = {key: pool.submit(score, *of_key[key]) for key in of_key if key not in scores}
        for number, key in enumerate(keys, 1):
            if key not in scores:
                scores[key] = new[key].result()
            print(scores[key], flush=True)
            if number % SAVE_EVERY == 0:
                save(file, scores)
    save(file, scores)


def score(reference: str, encoded: str) -> float:
    return round(float(compute_ssimulacra2(reference, encoded)), 4)


def digest(path: str) -> str:
    """Of the pixels, not of the file."""
    with Image.open(path) as picture:
        pixels = picture.convert("RGB")
    return sha256(repr(pixels.size).encode() + pixels.tobytes()).hexdigest()[:24]


def save(file: Path, scores: dict[str, float]) -> None:
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(scores, indent=0, sort_keys=True))
    unfinished.replace(file)


if __name__ == "__main__":
    main()
