"""Listings of addresses on the web."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from omnishot_ray.storage.fetch import FetchConfig
from tests import batches
from tests.integration.pictures import PictureServer


@pytest.fixture
def pictures() -> Iterator[PictureServer]:
    server = PictureServer()
    yield server
    server.stop()


def allowed(pictures: PictureServer) -> FetchConfig:
    return FetchConfig(allow=(f"127.0.0.1:{pictures.port}",), timeout_s=30)


def test_addresses_are_fetched_past_the_guard(tmp_path: Path, pictures: PictureServer) -> None:
    base = f"http://127.0.0.1:{pictures.port}"
    listing = batches.lines(
        tmp_path / "list.jsonl",
        [{"url": f"{base}/valid/photo_flower_480x360.jpg?n={n}"} for n in range(12)]
        + [{"url": f"{base}/nowhere.jpg"}, {"url": "http://169.254.169.254/meta.jpg"}],
    )
    out = tmp_path / "out"
    summary = batches.make(listing, out=out, fetch=allowed(pictures), shard_members=5)
    assert (summary.counts.pictures, summary.counts.renditions) == (14, 12)
    assert summary.errors == {"address-refused": 1, "upstream-refused": 1}
    assert len({row["output"] for row in batches.rows(out)} - {""}) == 12


def test_without_leave_no_address_of_this_machine_is_asked(
    tmp_path: Path, pictures: PictureServer
) -> None:
    url = f"http://127.0.0.1:{pictures.port}/valid/photo_flower_480x360.jpg"
    listing = batches.lines(tmp_path / "list.jsonl", [url])
    closed = replace(allowed(pictures), allow=())
    summary = batches.make(listing, out=tmp_path / "out", fetch=closed)
    assert summary.errors == {"address-refused": 1}
