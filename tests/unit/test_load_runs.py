"""What the scripts that measure make of what they have seen."""

import pytest

from benchmarks.load import old_system
from benchmarks.serving import scaling
from benchmarks.settings import SETTINGS, Figures, table
from benchmarks.simulator import measured, validate
from omnishot_ray.load.answers import Answer
from omnishot_ray.load.run import Run
from omnishot_ray.load.watch import Seen

START = 5000.0


def looks(*counts: tuple[float, int]) -> list[Seen]:
    return [Seen(START + at_s, 1.0, 100.0, count, 2, 9) for at_s, count in counts]


def test_reactions_are_told_from_the_change_of_load_on() -> None:
    shape = scaling.load("spike", [(1, 10), (20, 20), (1, 60)])
    run = Run(shape, START, [Answer(START + 1, "photo", 5.0, "status 429")])
    rows = scaling.reactions(run, looks((0, 1), (13, 1), (14, 2), (40, 2), (45, 1)))
    assert "| 1 → 2, after more load | 4.0 |" in rows
    assert "| 2 → 1, after its end | 15.0 |" in rows
    assert rows[-1] == "| wrong answers, 429, of all | 0, 1, 1 |"


def test_a_ramp_begins_with_its_second_step() -> None:
    shape = scaling.load("ramp", [(1, 5), (2, 5), (3, 5), (1, 30)])
    rows = scaling.reactions(Run(shape, START), looks((0, 1), (9, 2), (30, 1)))
    assert "| 1 → 2, after more load | 4.0 |" in rows
    assert "| 2 → 1, after its end | 15.0 |" in rows


def test_requests_are_not_called_images() -> None:
    step = {"rps": 20.0, "p50": 50.0, "p99": 90.0, "cpu": 1.0}
    titles = [cell.strip() for cell in scaling.HEAD[0].split("|")]
    cells = [cell.strip() for cell in scaling.replica_row(2, step, 12.5).split("|")]
    row = dict(zip(titles, cells, strict=True))
    assert (row["requests/s"], row["efficiency"]) == ("20.0", "80%")
    assert row["cost of 1 000 requests"] == "$0.00062"
    assert "| 1 | 0 |" in scaling.replica_row(1, step | {"rps": 0.0, "p50": None}, 0.0)


def test_the_old_table_leaves_open_what_it_does_not_know() -> None:
    ours = [
        {"users": 1, "success_rate": 1.0, "rps": 9.25, "memory_delta_mb": 3.0},
        {"users": 5, "success_rate": 0.5, "rps": 30.0},
    ]
    rows = old_system.table([{"users": 5, "rps": 10.0}], ours).splitlines()
    assert rows[2] == "| 1 |  | 100.0% |  | 9.2 |  | +3 |"
    assert rows[3] == "| 5 |  | 50.0% | 10.0 | 30.0 |  |  |"


def test_settings_are_told_as_ratios_to_the_default() -> None:
    setting = SETTINGS[0]
    found = {value: [Figures(10.0, 1, 20.0, 0, 0, 100)] for value in setting.values}
    found["0"] = [Figures(rate, 1, 40.0, 0.5, 0.25, 100) for rate in (4.0, 5.0, 9.0)]
    rows = {line.split(" | ")[0]: line for line in table(setting, found)}
    assert rows["| 0"] == "| 0 | 5.0 | 0.50 | 1 | 40 | 2.00 | 50.0% | 25.0% | 100 |"


def test_an_error_of_the_simulation_has_its_sign() -> None:
    load = measured.Load("usual", 8, 13.0, 1, 0.4, 13.0, {}, 0.5)
    rounds = [((50.0, 55.0), (200.0, 150.0), 0.1), ((50.0, 60.0), (200.0, 170.0), -0.2)]
    row = validate.Compared(2, [validate.Pair(load, *figures) for figures in rounds])
    assert row.rate_errors == pytest.approx([0.1, 0.2])
    assert row.late_errors == pytest.approx([-0.25, -0.15])
    cells = [cell.strip() for cell in validate.line(row).split("|")]
    assert cells[1:5] == ["2", "usual", "8", "0"]
    assert cells[7:9] == ["+15%", "+10% +20%"]
    assert cells[11:13] == ["-20%", "-25% -15%"]
    assert cells[13:15] == ["-5%", "+10% -20%"]
    assert row.missed
    near = validate.Pair(load, (50.0, 55.0), (200.0, 180.0), 0.5)
    assert not validate.Compared(2, [near]).missed
