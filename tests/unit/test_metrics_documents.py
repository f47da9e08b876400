"""docs/metrics.md lists the catalogue, and its examples run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from omnishot_ray.cli import main
from omnishot_ray.metrics.catalogue import CATALOGUE
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.hub import Hub
from omnishot_ray.metrics.samples import TABLES
from tests.unit.metered import traffic

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a hub has written 500 requests of the last minutes."""
    hub = Hub(MetricsConfig(uri=(tmp_path / "metrics").as_uri()))
    now_s = hub._clock()
    hub.take("requests", traffic(500, now_s - 200, now_s))
    hub.write()
    return tmp_path


def test_the_page_lists_the_catalogue() -> None:
    rows = [
        f"| `{m.name}` | {m.kind.value} | {m.unit} | {', '.join(m.labels)} | {m.help} |"
        for m in CATALOGUE.values()
    ]
    assert PAGE.split("|---|---|---|---|---|\n")[1].splitlines() == rows


def test_the_page_names_every_table() -> None:
    assert set(TABLES) <= set(re.findall(r"`(\w+)`", PAGE))


@pytest.mark.parametrize("example", EXAMPLES, ids=["duckdb", "pandas"])
def test_the_examples_run(example: str, folder: Path) -> None:
    module = re.findall(r"import (\w+)", example)[0]
    pytest.importorskip(module)
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "/api/optimize" in done.stdout


def test_the_command_answers_from_parquet(folder: Path) -> None:
    command = ["metrics", "query", "--from", str(folder / "metrics"), "--group-by", "route"]
    answer = CliRunner().invoke(main, [*command, "--window", "10m", "--json"])
    assert answer.exit_code == 0, answer.output
    assert answer.output.count("/api/") == 3
    shown = CliRunner().invoke(main, command)
    assert "count" in shown.output


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "json"])
def test_the_command_exports(folder: Path, suffix: str) -> None:
    output = folder / f"samples.{suffix}"
    command = ["metrics", "export", "--from", str(folder / "metrics"), "-o", str(output)]
    answer = CliRunner().invoke(main, command)
    assert answer.exit_code == 0, answer.output
    assert "500 samples" in answer.output
    assert output.stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["query", "--from", "/nothing", "--table", "secrets"], 2),
        (["query", "--from", "/nothing", "--window", "soon"], 2),
        (["query", "--url", "http://127.0.0.1:9"], 3),
        (["query", "--url", "nope"], 2),
        (["query", "--url", "http://a b"], 3),
        (["query", "--from", "nosuch://x"], 2),
        (["query", "--from", "/nothing"], 3),
        (["export", "--from", "/nothing"], 3),
        (["analyze", "--url", "nope"], 2),
        (["export", "-o", "samples.csv"], 2),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], code: int) -> None:
    answer = CliRunner().invoke(main, ["metrics", *arguments])
    assert answer.exit_code == code, answer.output
    assert answer.output
    assert isinstance(answer.exception, SystemExit)


def test_an_output_that_cannot_be_written_is_said(folder: Path) -> None:
    command = ["metrics", "export", "--from", str(folder / "metrics")]
    answer = CliRunner().invoke(main, [*command, "-o", str(folder / "none" / "samples.json")])
    assert (answer.exit_code, "cannot be written" in answer.output) == (3, True)
