"""The environment of the tools that need plain Pillow, which must never lie beside pillow-simd."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "benchmarks" / ".cache" / "quality"
LOCK = Path(__file__).with_name("requirements.lock")
_FOLDER = ROOT / "benchmarks" / ".cache" / "quality-env"
Result = TypeVar("Result")
_STAMP = _FOLDER / "requirements.lock"


def prepare() -> Path:
    """The environment's interpreter; made anew when it is missing or the lock has changed.

    Raises:
        subprocess.CalledProcessError: pip failed; what it said is on stderr.
    """
    interpreter = _FOLDER / "bin" / "python"
    lock = LOCK.read_bytes()
    if _STAMP.exists() and _STAMP.read_bytes() == lock:
        return interpreter
    print("preparing benchmarks/.cache/quality-env", file=sys.stderr, flush=True)
    venv.create(_FOLDER, clear=True, with_pip=True)
    pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    locked = ["--only-binary", ":all:", "--require-hashes", "-r", str(LOCK)]
    subprocess.run([*pip, *locked], check=True)
    _STAMP.write_bytes(lock)
    return interpreter


def run_script(name: str, job: Any) -> Iterator[str]:
    """Runs this folder's script `name` there with `job` as JSON on its stdin; its lines of stdout.

    Raises:
        RuntimeError: the script failed; what it said is on stderr.
    """
    command = [str(prepare()), str(Path(__file__).with_name(name))]
    yield from run_lines(command, job, {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})


def run_lines(command: list[str], job: Any, variables: dict[str, str]) -> Iterator[str]:
    """A program's lines of stdout, as they come, with `job` as JSON on its stdin.

    Raises:
        RuntimeError: the program failed; what it said is on stderr.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | variables,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(job))
        process.stdin.close()
        yield from process.stdout
    if process.returncode:
        raise RuntimeError(f"{Path(command[1]).name} ended with code {process.returncode}")


def said(results: Iterable[Result], every: int, of: int, what: str) -> Iterator[Result]:
    """The same results, with a word of progress on stderr after each `every`."""
    for number, result in enumerate(results, 1):
        if number % every == 0 or number == of:
            print(f"{what}: {number} of {of}", file=sys.stderr, flush=True)
        yield result
