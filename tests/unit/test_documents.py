"""Documents and configuration say what the code does."""

import re
import runpy
from pathlib import Path

import yaml

from omnishot_ray.serving.environment import RAY_ENVIRONMENT
from omnishot_ray.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]


def test_reference_is_written_from_the_code() -> None:
    build_reference = runpy.run_path(str(ROOT / "scripts" / "reference.py"))["build_reference"]
    page = (ROOT / "docs" / "reference.md").read_text()
    assert page == build_reference(), "run: .venv/bin/python scripts/reference.py"


def test_ray_env_is_the_environment_of_the_code() -> None:
    lines = (ROOT / "ray.env").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert values == RAY_ENVIRONMENT


def test_cluster_file_gives_every_node_that_environment() -> None:
    cluster = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    for role in ("head", "worker"):
        start = cluster[f"{role}_start_ray_commands"][-1]
        assert start.index(". ./ray.env") < start.index("ray start")


def test_serve_config_holds_known_settings() -> None:
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    (application,) = config["applications"]
    settings = load_settings(application["args"], {})
    assert settings == load_settings({}, {}), "what the file shows are the defaults"


def test_readme_names_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md"):
        named = set(re.findall(r"\bmake ([a-z-]+)", (ROOT / page).read_text()))
        assert named - {"it"} <= targets, page


def test_pages_link_to_files_that_exist() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_architecture_names_files_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    package = ROOT / "omnishot_ray"
    for name in re.findall(r"`((?:imaging|api|serving|cli)/[a-z_]+\.py)`", text):
        assert (package / name).exists(), name
