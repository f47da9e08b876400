"""Container and Kubernetes files, by linters and schemas, and by what the code has."""

import json
import re
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from omnishot_ray.serving.environment import RAY_ENVIRONMENT
from omnishot_ray.settings import load_settings
from tests.integration.service import BIN

ROOT = Path(__file__).resolve().parents[2]
CONTAINERFILE = ROOT / "deploy" / "Containerfile"
MANIFEST = ROOT / "deploy" / "kuberay" / "rayservice.yaml"
SCHEMA = json.loads((ROOT / "tests" / "data" / "deploy" / "rayservice.schema.json").read_text())


@pytest.fixture
def manifest():
    return yaml.safe_load(MANIFEST.read_text())


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "hadolint"), "--failure-threshold", "style", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_containerfile_passes_its_linter() -> None:
    run = lint(CONTAINERFILE)
    assert run.returncode == 0, run.stdout


def test_the_linter_finds_what_is_wrong(tmp_path) -> None:
    wrong = tmp_path / "Containerfile"
    wrong.write_text(CONTAINERFILE.read_text().replace("debian:12-slim", "debian"))
    run = lint(wrong)
    assert run.returncode == 1
    assert "DL3006" in run.stdout


def test_containerfile_has_the_environment_of_the_code() -> None:
    text = CONTAINERFILE.read_text().replace("\\\n", " ")
    lines = [line.removeprefix("ENV ") for line in text.splitlines() if line.startswith("ENV RAY_")]
    assert dict(re.findall(r"(\w+)=(\S*)", lines[0])) == RAY_ENVIRONMENT


def test_containerfile_uses_files_that_are_there() -> None:
    text = CONTAINERFILE.read_text()
    assert "scripts/setup serve" in text
    assert (ROOT / "scripts" / "setup").exists()
    ignored = (ROOT / ".containerignore").read_text().splitlines()
    for needed in ("omnishot_ray", "scripts", "requirements", "pyproject.toml"):
        assert needed not in ignored


def test_manifest_is_a_rayservice(manifest) -> None:
    jsonschema.validate(manifest, SCHEMA, jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda spec: spec.update(serveConfig="…"),
        lambda spec: spec["upgradeStrategy"].update(type="Rolling"),
        lambda spec: spec["rayClusterConfig"]["workerGroupSpecs"][0].update(replicas="2"),
        lambda spec: spec["rayClusterConfig"]["headGroupSpec"]["rayStartParams"].update(cpus=0),
        lambda spec: spec.pop("rayClusterConfig"),
    ],
)
def test_the_schema_finds_what_is_wrong(manifest, break_it) -> None:
    break_it(manifest["spec"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest, SCHEMA, jsonschema.Draft202012Validator)


def pods(manifest) -> dict[str, dict]:
    cluster = manifest["spec"]["rayClusterConfig"]
    groups = [("head", cluster["headGroupSpec"])]
    groups += [(group["groupName"], group) for group in cluster["workerGroupSpecs"]]
    return {name: group["template"]["spec"] for name, group in groups}


def check_pod(spec) -> None:
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a-pod"}, "spec": spec}
    kubernetes_validate.validate(document, "1.32", strict=True)


@pytest.mark.parametrize("name", ["head", "workers"])
def test_pods_are_what_kubernetes_takes(manifest, name: str) -> None:
    check_pod(pods(manifest)[name])


def test_a_wrong_pod_is_found(manifest) -> None:
    spec = pods(manifest)["head"]
    spec["containers"][0]["ressources"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        check_pod(spec)


@pytest.mark.parametrize("name", ["head", "workers"])
def test_pods_have_the_environment_of_the_code(manifest, name: str) -> None:
    (container,) = pods(manifest)[name]["containers"]
    given = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert RAY_ENVIRONMENT.items() <= given.items()
    assert manifest["spec"]["rayClusterConfig"]["authOptions"] == {"mode": "token"}
    assert given["OMNISHOT_API_KEYS"] is None, "keys come from a secret"


def test_manifest_holds_settings_that_fit_its_nodes(manifest) -> None:
    config = yaml.safe_load(manifest["spec"]["serveConfigV2"])
    (application,) = config["applications"]
    assert application["import_path"] == "omnishot_ray.app:build_app"
    settings = load_settings(application["args"], {})
    (workers,) = manifest["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    cpus = int(workers["rayStartParams"]["num-cpus"])
    most = workers["maxReplicas"] * cpus
    gateways = settings.gateways.replicas * settings.gateways.num_cpus
    assert gateways + settings.resizers.max_replicas <= most
    assert gateways + settings.resizers.min_replicas <= workers["replicas"] * cpus


def test_manifest_names_the_ray_that_is_locked(manifest) -> None:
    locked = re.search(r"^ray\S*==([\d.]+)", (ROOT / "requirements/serve.lock").read_text(), re.M)
    assert locked
    assert manifest["spec"]["rayClusterConfig"]["rayVersion"] == locked[1]
