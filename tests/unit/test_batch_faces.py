"""What people see of a batch: progress, report, the stage, samples for the hub."""

import io
import queue
import re
import threading
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from omnishot_ray.batch.manifest import Counts
from omnishot_ray.batch.places import Place
from omnishot_ray.batch.progress import Lines, Pace, record_shard
from omnishot_ray.batch.report import write_report
from omnishot_ray.batch.run import Run, work_here
from omnishot_ray.batch.stage import Renditions
from omnishot_ray.batch.worker import ShardReport
from omnishot_ray.cli import main
from omnishot_ray.cli.batch import _say
from omnishot_ray.errors import InvalidParameters
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.option_table import SPECS
from omnishot_ray.imaging.pipeline import process
from omnishot_ray.metrics.samples import BatchSample, Sample
from tests import batches

VARIANTS = [{"name": "a", "width": 8}, {"name": "b", "width": 4, "format": "webp"}]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def shard_report(pictures: int, size: int, *, was_done: bool = False) -> ShardReport:
    counts = Counts(shards=1, pictures=pictures, failed_pictures=1, bytes_in=size)
    return ShardReport(0, 0, counts, size, was_done, 40.0, 30.0, "batch-1a2b")


def test_pace_counts_what_this_run_does_and_knows_what_is_left() -> None:
    clock = Clock()
    pace = Pace(10_000_000, clock)
    pace.note(shard_report(50, 5_000_000, was_done=True))
    assert pace.seconds_left is None
    clock.now = 10.0
    pace.note(shard_report(20, 2_000_000))
    assert pace.share == pytest.approx(0.7)
    assert (pace.pictures_per_s, pace.megabytes_per_s) == pytest.approx((2.0, 0.2))
    assert pace.seconds_left == pytest.approx(15.0)
    assert pace.line() == "70 pictures, 2.0/s, 0.2 MB/s, 2 failed, 0:00:15 left"


class Told(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.lines = queue.SimpleQueue[str]()

    def write(self, text: str) -> int:
        self.lines.put(text)
        return len(text)


def test_lines_come_while_no_shard_is_done(tmp_path: Path) -> None:
    source = batches.write_folder(tmp_path / "in", batches.photos(1))
    stream = Told()
    lines = Lines(stream, every_s=0.01)
    with closing(Run(batches.job_of(source, out=tmp_path / "out"))) as run:
        lines.start(run)
    for _ in range(2):
        assert stream.lines.get(timeout=30).startswith("0 pictures, ")
    lines.note(shard_report(1, 100))
    while not stream.lines.get(timeout=30).startswith("1 pictures, "):
        continue
    lines.stop()
    assert "progress" not in [thread.name for thread in threading.enumerate()]


def test_the_hub_is_told_of_new_shards_alone() -> None:
    taken: list[Sample] = []

    class Hub:
        def record(self, sample: Sample) -> None:
            taken.append(sample)

    record_shard(Hub(), shard_report(5, 100, was_done=True))  # type: ignore[arg-type]
    record_shard(Hub(), shard_report(6, 100))  # type: ignore[arg-type]
    (sample,) = taken
    assert isinstance(sample, BatchSample)
    assert (sample.tasks, sample.failed, sample.took_ms, sample.process) == (
        6,
        1,
        40.0,
        "batch-1a2b",
    )


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.images: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href"):
                (self.images if tag == "img" else self.links).append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("to", ["folder", "webdataset", "parquet", "zip"])
def test_report_shows_all_and_needs_nothing_else(tmp_path: Path, to: str) -> None:
    members = batches.photos(5) | {"<script>.jpg": b"\xff\xd8\xffno"}
    source = batches.write_tar(tmp_path / "a.tar", members)
    out = tmp_path / "out"
    summary = batches.make(source, out=out, to=to)
    write_report(Place.parse(str(out)), summary)
    text = (out / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.links == []
    assert len(page.images) == 5
    assert all(image.startswith("data:image/jpeg;base64,") for image in page.images)
    assert "<script>" not in text
    assert "<script>.jpg" in page.text
    assert "corrupt-image" in page.text
    # The highest bar fills the chart; a run over the turn of a second has more than one.
    assert re.search(r"<rect x='[0-9.]+' y='0.0' width='[0-9.]+' height='160.0'>", text)


def test_report_of_a_job_without_pictures_that_worked(tmp_path: Path) -> None:
    source = batches.write_folder(tmp_path / "in", {"a.jpg": b"no"})
    summary = batches.make(source, out=tmp_path / "out")
    write_report(Place.parse(str(tmp_path / "out")), summary)
    assert "Nothing to show." in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("isolate", [True, False])
def test_stage_gives_a_row_for_each_picture_and_rendition(isolate: bool) -> None:
    stage = Renditions(variants=VARIANTS, column="image", isolate=isolate)
    pictures = [batches.photo(1), b"broken", batches.photo(2)]
    made: dict[str, Any] = stage(
        {"image": np.array(pictures, dtype=object), "id": np.array([7, 8, 9])}
    )
    stage.close()
    assert list(made["id"]) == [7, 7, 8, 9, 9]
    assert made["rendition"] == ["a", "b", "", "a", "b"]
    assert made["status"] == ["ok", "ok", "failed", "ok", "ok"]
    assert made["error"][2] == "unsupported-format"
    assert made["format"] == ["jpeg", "webp", "", "jpeg", "webp"]
    alone = process(pictures[2], stage._wanted, Limits()).renditions
    assert made["rendition_bytes"][3:] == [one.data for one in alone]  # type: ignore[union-attr]


@pytest.mark.parametrize("isolate", [True, False])
def test_stage_takes_rows_without_a_picture(isolate: bool) -> None:
    stage = Renditions(variants=VARIANTS, isolate=isolate)
    pictures = [None, batches.photo(1), "text", b""]
    made: dict[str, Any] = stage({"bytes": np.array(pictures, dtype=object)})
    stage.close()
    assert made["error"] == ["no-data", "", "", "no-data", "unsupported-format"]


def test_stage_says_what_is_missing() -> None:
    with pytest.raises(InvalidParameters):
        Renditions()
    with pytest.raises(KeyError):
        Renditions(options={"width": 3}, isolate=False)({"other": np.array([1])})


def test_who_stops_says_at_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = batches.write_folder(tmp_path / "in", {"a.jpg": b"no"})
    job = batches.job_of(source, out=tmp_path / "out", on_error="fail")
    _say(work_here(Run(job)), job, as_json=False, report=False)
    said = capsys.readouterr().err
    assert "stopped after 1 failed pictures (--on-error fail). The first was a.jpg: " in said


ROOT = Path(__file__).resolve().parents[2]


def test_the_page_names_every_flag_and_code() -> None:
    page = (ROOT / "docs" / "batch.md").read_text()
    rendition = {spec.name for spec in SPECS}
    flags = {
        option.opts[0]
        for option in main.commands["batch"].params
        if isinstance(option, click.Option) and option.name not in rendition
    }
    assert [flag for flag in sorted(flags) if flag not in page] == []
    sources = (ROOT / "omnishot_ray" / "batch").glob("*.py")
    codes = {
        code for path in sources for code in re.findall(r'Fault\(\s*"([a-z-]+)"', path.read_text())
    }
    assert len(codes) > 10
    assert [code for code in sorted(codes) if f"`{code}`" not in page] == []
