"""Plots against time are well-formed pictures with every value inside its panel."""

import re
import xml.etree.ElementTree as ET

import pytest

from omnishot_ray.load.chart import WIDTH, Line, Panel, draw, nice


@pytest.mark.parametrize(
    ("value", "round_number"),
    [(0.0, 0.1), (0.3, 0.4), (1.0, 1.0), (7.1, 8.0), (41.0, 60.0), (128, 200)],
)
def test_scales_end_at_round_numbers(value: float, round_number: float) -> None:
    assert nice(value) == pytest.approx(round_number)


def test_a_picture_holds_every_line() -> None:
    seconds = [float(second) for second in range(1, 5001)]
    panels = [
        Panel("up & <down>", [Line("a", seconds), Line("b", seconds[::-1])]),
        Panel("nothing", [Line("c", [0.0] * 5000)]),
    ]
    picture = ET.fromstring(draw("a title", seconds, panels))
    height = float(picture.attrib["viewBox"].split()[3])
    space = "{http://www.w3.org/2000/svg}"
    lines = [path.attrib["d"] for path in picture.iter(f"{space}path") if "L" in path.attrib["d"]]
    assert len(lines) == 3
    for line in lines:
        points = re.findall(r"([\d.]+),([\d.]+)", line)
        assert WIDTH / 2 < len(points) <= WIDTH, "no more points than can be seen"
        assert all(0 <= float(x) <= WIDTH and 0 <= float(y) <= height for x, y in points)
    texts = [text.text for text in picture.iter(f"{space}text")]
    assert {"a title", "up & <down>", "nothing", "0 min"} <= set(texts)


def test_an_axis_may_be_of_something_else_than_time() -> None:
    picture = ET.fromstring(
        draw("cores", [1.0, 2.0], [Panel("p", [Line("a", [1, 2])])], [(1.0, "one"), (2.0, "two")])
    )
    texts = {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"one", "two"} <= texts
    assert not any(text and text.endswith("min") for text in texts)


def test_a_short_axis_has_seconds() -> None:
    picture = draw("short", [1.0, 2.0, 20.0], [Panel("p", [Line("a", [1, 2, 3])])])
    assert ">20 s<" in picture
