"""Sources that killed, as several gateways of a node see them."""

import os
from pathlib import Path

import pytest

from omnishot_ray.cache.quarantine import Quarantine
from tests.cached import Clock

DIGEST, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_second_kill_shuts_out(tmp_path: Path, clock: Clock) -> None:
    quarantine = Quarantine(tmp_path / "node", clock=clock)
    assert not quarantine.is_quarantined(DIGEST)
    quarantine.note_kill(DIGEST)
    assert not quarantine.is_quarantined(DIGEST)
    quarantine.note_kill(DIGEST)
    assert quarantine.is_quarantined(DIGEST)
    assert not quarantine.is_quarantined(OTHER)


def test_it_is_over_after_the_period(tmp_path: Path, clock: Clock) -> None:
    quarantine = Quarantine(tmp_path / "node", period_s=3600, clock=clock)
    quarantine.note_kill(DIGEST)
    clock.now += 3000
    quarantine.note_kill(DIGEST)
    clock.now += 3599
    assert quarantine.is_quarantined(DIGEST)
    clock.now += 1
    assert not quarantine.is_quarantined(DIGEST)
    clock.now += 1
    assert not quarantine.is_quarantined(DIGEST)
    assert os.listdir(tmp_path / "node" / "quarantine") == []
    quarantine.note_kill(DIGEST)
    assert not quarantine.is_quarantined(DIGEST), "the count begins anew"


def test_gateways_share_it_and_it_outlives_them(tmp_path: Path, clock: Clock) -> None:
    first = Quarantine(tmp_path / "node", clock=clock)
    second = Quarantine(tmp_path / "node", clock=clock)
    assert not second.is_quarantined(DIGEST)
    first.note_kill(DIGEST)
    second.note_kill(DIGEST)  # one kill each
    assert second.is_quarantined(DIGEST)
    clock.now += 1.1
    assert first.is_quarantined(DIGEST)
    assert Quarantine(tmp_path / "node", clock=clock).is_quarantined(DIGEST)


def test_kills_of_others_count_at_once_when_noting(tmp_path: Path, clock: Clock) -> None:
    first = Quarantine(tmp_path / "node", clock=clock)
    second = Quarantine(tmp_path / "node", clock=clock)
    assert not second.is_quarantined(DIGEST)
    first.note_kill(DIGEST)
    second.note_kill(DIGEST)
    assert second.is_quarantined(DIGEST)


def test_first_kill_that_is_over_does_not_count(tmp_path: Path, clock: Clock) -> None:
    quarantine = Quarantine(tmp_path / "node", clock=clock)
    quarantine.note_kill(DIGEST)
    clock.now += 3601
    quarantine.note_kill(DIGEST)
    assert not quarantine.is_quarantined(DIGEST)
    clock.now += 2
    assert not quarantine.is_quarantined(DIGEST)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "AB" * 32, "ab" * 31])
def test_what_is_no_digest_is_refused(tmp_path: Path, digest: str) -> None:
    quarantine = Quarantine(tmp_path / "node")
    with pytest.raises(ValueError, match="digest"):
        quarantine.note_kill(digest)


def test_without_a_folder_it_is_kept_in_memory(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "node").write_text("in the way")
    quarantine = Quarantine(tmp_path / "node", clock=clock)
    quarantine.note_kill(DIGEST)
    quarantine.note_kill(DIGEST)
    clock.now += 10
    assert quarantine.is_quarantined(DIGEST)
    clock.now += 3600
    assert not quarantine.is_quarantined(DIGEST)


def test_folder_that_goes_away_is_no_fault(tmp_path: Path, clock: Clock) -> None:
    quarantine = Quarantine(tmp_path / "node", clock=clock)
    (tmp_path / "node" / "quarantine").rmdir()
    for _ in range(2):
        clock.now += 2
        quarantine.note_kill(DIGEST)
    assert quarantine.is_quarantined(DIGEST)
    clock.now += 2
    assert quarantine.is_quarantined(DIGEST)


@pytest.mark.parametrize(("kills", "period_s"), [(0, 1.0), (1, 0.0)])
def test_wrong_settings_are_refused(tmp_path: Path, kills: int, period_s: float) -> None:
    with pytest.raises(ValueError, match="at least"):
        Quarantine(tmp_path, kills, period_s)
