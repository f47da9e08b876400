import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnishot_ray.batch.names import (
    Stems,
    UnsafeName,
    is_picture,
    readable,
    safe_name,
    stem_of,
)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a/b.jpg", "a/b.jpg"),
        ("/etc/b.jpg", "etc/b.jpg"),
        ("./a//b.jpg", "a/b.jpg"),
        ("C:\\Users\\b.jpg", "Users/b.jpg"),
        ("a\\b.jpg", "a/b.jpg"),
        ("a\nb\x00.jpg", "a_b_.jpg"),
        (".omnishot/job.json.jpg", "_.omnishot/job.json.jpg"),
        ("Manifest.parquet/b.jpg", "_Manifest.parquet/b.jpg"),
        ("a/run.json/b.jpg", "a/run.json/b.jpg"),
        ("photo.jpg/b.jpg", "photo.jpg_/b.jpg"),
        ("caf\udce9.jpg", "caf%E9.jpg"),
        ("\ud800.jpg", "%uD800.jpg"),
        ("cafe\u0301.jpg", "caf\u00e9.jpg"),
    ],
)
def test_names_stay_in_their_folder(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@pytest.mark.parametrize(
    "name", ["../b.jpg", "a/../../b.jpg", "a\\..\\b.jpg", "", "/", ".", "a/" * 40 + "b.jpg"]
)
def test_names_that_climb_or_are_none_are_refused(name: str) -> None:
    with pytest.raises(UnsafeName):
        safe_name(name)


@given(st.text(max_size=300))
def test_whatever_the_name_its_parts_fit_a_file_system(name: str) -> None:
    try:
        safe = safe_name(name)
    except UnsafeName:
        return
    parts = safe.split("/")
    assert all(part not in ("", ".", "..") and len(part.encode()) <= 160 for part in parts)
    assert "\0" not in safe
    assert safe_name(safe) == safe


def test_long_names_that_differ_at_their_ends_stay_apart() -> None:
    one, other = (safe_name("x" * 300 + end + ".jpg") for end in "ab")
    assert one != other
    assert one.endswith(".jpg")


def test_bytes_of_unknown_encoding_are_written_out() -> None:
    assert readable("grün.jpg".encode()) == "grün.jpg"
    assert readable("grün.jpg".encode("latin-1")) == "gr%FCn.jpg"


def test_pictures_are_told_by_suffix() -> None:
    names = ["a.jpg", "b.JPEG", "c.txt", "jpg", "d/._a.jpg", ".jpg", "e.tar.webp"]
    assert [name for name in names if is_picture(name)] == ["a.jpg", "b.JPEG", "e.tar.webp"]
    assert stem_of("a.b.jpg") == "a.b"
    assert stem_of("a.json") == "a.json"


def test_no_stem_is_handed_out_twice() -> None:
    stems = Stems()
    names = ["a.jpg", "a.png", "a.jpg", "A.JPG", "a.jpg"]
    assert [stems.take(name, n) for n, name in enumerate(names)] == [
        "a",
        "a.png",
        "a.jpg",
        "A.JPG~3",
        "a.jpg~4",
    ]


@given(st.lists(st.sampled_from(["a", "b.jpg", "a.jpg", "a.png", "a~3", "a.jpg~3", "A.jpg"])))
def test_stems_are_unique_and_repeatable(names: list[str]) -> None:
    def taken() -> list[str]:
        stems = Stems()
        return [stems.take(name, n) for n, name in enumerate(names)]

    assert len({stem.casefold() for stem in taken()}) == len(names)
    assert taken() == taken()
