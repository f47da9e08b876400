"""Batch jobs killed at any moment, then resumed: the outputs are those of an undisturbed run."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import batches
from tests.small_disk import mounted

_WORK = """
import sys
from pathlib import Path
from tests import batches
from omnishot_ray.batch.run import Run, work_here
source, out, to = sys.argv[1:]
job = batches.job_of(Path(source), out=Path(out), to=to, shard_members=4)
print("begins", flush=True)
work_here(Run(job, resume=True))
"""
KILLS = 24
PICTURES = 60


def begin(source: Path, out: Path, to: str) -> subprocess.Popen[str]:
    """A worker process that has imported everything and begins now."""
    command = [sys.executable, "-c", _WORK, str(source), str(out), to]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    return process


def finish(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=120) == 0


@pytest.mark.timeout(900)
@pytest.mark.parametrize("to", ["folder", "webdataset", "parquet", "zip"])
def test_killed_at_any_moment_and_resumed(tmp_path: Path, to: str) -> None:
    members = batches.photos(PICTURES) | {"broken.jpg": b"\xff\xd8\xff", "../up.jpg": b"x"}
    source = batches.write_tar(tmp_path / "a.tar", members)
    undisturbed = begin(source, tmp_path / "whole", to)
    began = time.monotonic()
    finish(undisturbed)
    length = time.monotonic() - began
    expected = batches.digests(tmp_path / "whole")
    chance = random.Random(to)
    out = tmp_path / "out"
    killed = completed = 0
    while killed < KILLS // 4:
        process = begin(source, out, to)
        try:
            process.wait(timeout=chance.uniform(0.0, length))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        assert process.stdout is not None
        process.stdout.close()
        if process.wait(timeout=120) == 0:
            # It was quicker than the chance: begin again with an output of its own.
            completed += 1
            assert batches.digests(out) == expected
            out = tmp_path / f"out-{completed}"
    finish(begin(source, out, to))
    assert batches.digests(out) == expected


@pytest.mark.parametrize("to", ["folder", "webdataset", "parquet", "zip"])
def test_a_full_disk_ends_the_run_and_room_lets_it_go_on(tmp_path: Path, to: str) -> None:
    source = batches.write_tar(tmp_path / "a.tar", batches.photos(PICTURES))
    given = {"to": to, "shard_members": 4}
    batches.make(source, out=tmp_path / "whole", **given)
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "160k"):
        out = disk / "out"
        with pytest.raises(OSError, match="No space") as stopped:
            batches.make(source, out=out, **given)
        assert stopped.value.errno == errno.ENOSPC
        done = len(list(out.glob(".omnishot/commits/*/*.parquet")))
        assert 0 < done < PICTURES // 4
        subprocess.run(["mount", "-o", "remount,size=32m", disk], check=True)
        batches.make(source, out=out, resume=True, **given)
        assert batches.digests(out) == batches.digests(tmp_path / "whole")
