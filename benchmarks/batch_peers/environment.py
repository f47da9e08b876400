"""Environments of the peers: stock Pillow and img2dataset must never lie beside pillow-simd."""

import os
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.peers.images import CACHE


def interpreter(name: str, *requirements: str) -> Path | None:
    """The interpreter of an environment with these; None where they do not install."""
    folder = CACHE / name
    python, stamp = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "\n".join(requirements)
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"preparing benchmarks/.cache/{name}", file=sys.stderr, flush=True)
    venv.create(folder, clear=True, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run = subprocess.run([*pip, "--only-binary", ":all:", *requirements], check=False)
    if run.returncode:
        return None
    stamp.write_text(wanted)
    return python


def clean() -> dict[str, str]:
    """This process's environment without what would lead a peer to our packages."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
