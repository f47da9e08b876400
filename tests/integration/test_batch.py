"""Batch jobs on a real Ray: the same bytes as without, whatever is killed; beside the service."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from tests import batches
from tests.integration.service import (
    BIN,
    ROOT,
    Service,
    answers,
    free_port,
    start_service,
    wait_for,
)
from tests.integration.test_service import PHOTO, SMALL, post, size_of

HOSTILE = ROOT / "tests" / "data" / "hostile"
DEADLINE_S = 150


class Batch(Service):
    """`omnishot batch` as a process of its own, in a session of its own."""

    def __init__(self, *arguments: object, environment: dict[str, str] | None = None) -> None:
        command = [str(BIN / "python"), "-m", "omnishot_ray.cli", "batch", *map(str, arguments)]
        super().__init__(command, 0, environment or {})

    def finish(self) -> int:
        try:
            return self.process.wait(timeout=DEADLINE_S)
        finally:
            self.stop()

    def kill(self) -> None:
        """All of it at once, as if the machine had gone."""
        for pid in [self.process.pid, *self.descendants()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(timeout=30)
        wait_for(lambda: not self.descendants(), 30, "the end of its processes")

    def commits(self, out: Path) -> int:
        return len(list(out.glob(".omnishot/commits/*/*.parquet")))


def arguments(source: Path, out: Path) -> list[object]:
    variants = out.parent / "variants.yaml"
    variants.write_text("small: {width: 16}\n")
    return [source, out, "--variants", variants, "--shard-size", 2, "--workers", 2]


@pytest.mark.timeout(400)
def test_the_same_bytes_as_without_ray(tmp_path: Path) -> None:
    source = batches.write_tar(tmp_path / "a.tar", batches.photos(10))
    streamed = batches.write_tar(tmp_path / "b.tar.gz", batches.photos(9), "w:gz")
    out = tmp_path / "out"
    mixed = [source, streamed, HOSTILE]
    batches.make(*mixed, out=tmp_path / "whole", shard_members=2)
    batch = Batch(*mixed, *arguments(HOSTILE, out)[1:], "--report", "--json")
    assert batch.process.wait(timeout=DEADLINE_S) == 1
    said = batch.output()
    batch.stop()
    summary = json.loads(said[said.index("{") :])
    assert summary["counts"]["renditions"] == len(list(out.rglob("*.small.*")))
    assert summary["exit_code"] == 1
    assert batches.digests(out) == batches.digests(tmp_path / "whole")
    assert "<svg" in (out / "report.html").read_text()


@pytest.mark.timeout(600)
def test_killed_with_all_of_ray_and_resumed(tmp_path: Path) -> None:
    source = batches.write_tar(tmp_path / "a.tar", batches.photos(60))
    out = tmp_path / "out"
    batches.make(source, out=tmp_path / "whole", shard_members=2)
    chance = random.Random(7)
    for _ in range(3):
        batch = Batch(*arguments(source, out), "--resume")
        before = batch.commits(out)
        wait_for(
            lambda b=batch, n=before: b.process.poll() is not None or b.commits(out) > n,
            DEADLINE_S,
            "the first shard",
        )
        time.sleep(chance.uniform(0, 0.2))
        batch.kill()
    assert batch.commits(out) < 30, "it was killed too late to show anything"
    batch = Batch(*arguments(source, out), "--resume")
    assert batch.finish() == 0, batch.output()
    assert batches.digests(out) == batches.digests(tmp_path / "whole")


@pytest.mark.timeout(400)
def test_a_worker_that_is_killed_costs_nothing(tmp_path: Path) -> None:
    source = batches.write_folder(tmp_path / "in", batches.photos(120))
    out = tmp_path / "out"
    batches.make(source, out=tmp_path / "whole", shard_members=2)
    batch = Batch(*arguments(source, out))

    def workers() -> list[int]:
        return [pid for pid in batch.descendants() if _command(pid).startswith("ray::MapWorker")]

    wait_for(lambda: batch.commits(out) > 2, DEADLINE_S, "the first shards")
    os.kill(workers()[0], signal.SIGKILL)
    assert batch.finish() == 0, batch.output()
    assert batches.digests(out) == batches.digests(tmp_path / "whole")


@pytest.mark.timeout(400)
def test_serving_has_room_beside_a_batch(tmp_path: Path) -> None:
    environment = {"RAY_AUTH_MODE": "disabled"}
    source = batches.write_tar(tmp_path / "a.tar", {f"{n}.jpg": PHOTO for n in range(60)})
    out = tmp_path / "out"
    service = start_service(environment=environment)
    batch = None
    try:
        given = [source, out, "--width", "700", "--shard-size", "2", "--address", "auto"]
        batch = Batch(*given, "--nice", "10", environment=environment)
        wait_for(lambda: batch.commits(out) > 0, DEADLINE_S, "the first shard")
        answered = 0
        while batch.process.poll() is None and answered < 8:
            # Through the pool: a Resizer has to have its CPU.
            answer, content = post(service, "/api/optimize?platform=instagram-post", PHOTO)
            assert answer.status == 200
            assert size_of(content) == (1080, 1080)
            answer, _ = post(service, "/api/optimize?width=100", SMALL)
            assert answer.status == 200
            answered += 1
        assert answered == 8, "the batch was over before the service was asked"
        assert batch.process.wait(timeout=DEADLINE_S) == 0, batch.output()
        assert told_of(service) == 60, "the hub has heard of other pictures than were there"
    finally:
        if batch is not None:
            batch.stop()
        service.stop()


def told_of(service: Service) -> int:
    """Pictures that the metrics hub knows of from batch runs."""
    with urllib.request.urlopen(f"{service.url}/api/metrics/export?table=batches&window=1h") as got:
        rows = json.loads(got.read())["rows"]
    return sum(row["tasks"] for row in rows if row["process"].startswith("batch-"))


@pytest.mark.timeout(400)
def test_submitted_to_a_cluster_as_a_job(tmp_path: Path) -> None:
    source = batches.write_tar(tmp_path / "a.tar", batches.photos(12))
    out = tmp_path / "out"
    # In a folder of its own: where others look for a cluster, this one is not to be found.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # paths of sockets have to be short
    environment = {"RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": folder}
    batches.make(source, out=tmp_path / "whole", shard_members=2)
    gcs, dashboard = free_port(), free_port()
    command = [str(BIN / "ray"), "start", "--head", "--block", f"--port={gcs}", "--num-cpus=4"]
    command += ["--include-dashboard=true", f"--dashboard-port={dashboard}"]
    head = Service(command, dashboard, environment)
    try:
        wait_for(lambda: answers(f"{head.url}/api/version"), DEADLINE_S, "Ray's head")
        given = map(str, arguments(source, out))
        run = subprocess.run(
            [
                *(str(BIN / "ray"), "job", "submit", "--address", head.url, "--"),
                *(str(BIN / "python"), "-m", "omnishot_ray.cli", "batch", *given),
            ],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            env={**os.environ, **environment},
        )
        assert run.returncode == 0, run.stdout + run.stderr
        assert "12 renditions of 12 pictures" in run.stdout
        assert batches.digests(out) == batches.digests(tmp_path / "whole")
    finally:
        head.stop()
        shutil.rmtree(folder, ignore_errors=True)


_STAGE = """
import os
os.environ["RAY_AUTH_MODE"] = "disabled"
import ray
from omnishot_ray.batch import Renditions
from tests import batches
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
pictures = [{"id": n, "bytes": batches.photo(n) if n else b"broken"} for n in range(9)]
made = ray.data.from_items(pictures).map_batches(
    Renditions,
    fn_constructor_kwargs={"variants": [{"name": "a", "width": 8}, {"name": "b", "width": 4}]},
    batch_size=4,
    concurrency=1,
)
rows = sorted(made.take_all(), key=lambda row: (row["id"], row["rendition"]))
print([(row["id"], row["rendition"], row["status"], row["width"]) for row in rows])
ray.shutdown()
"""


@pytest.mark.timeout(300)
def test_stage_of_a_pipeline_of_ones_own() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _STAGE],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr
    expected = [(0, "", "failed", 0)]
    for n in range(1, 9):
        expected += [(n, "a", "ok", 8), (n, "b", "ok", 4)]
    assert run.stdout.splitlines()[-1] == str(expected)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--platforms", "nonsense"], "platform"),
        ([], "name platforms, a group or variants"),
        (["--width", "0"], "width"),
    ],
)
def test_wrong_usage_is_told_before_anything_starts(tmp_path: Path, given, said: str) -> None:
    command = [str(BIN / "python"), "-m", "omnishot_ray.cli", "batch", str(HOSTILE), str(tmp_path)]
    run = subprocess.run(
        [*command, *given],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 2
    assert said in run.stderr


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""
