"""Container and Kubernetes files, by linters and schemas, and by what the code has."""

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from ray.scripts.scripts import start
from ray.serve._private.deploy_utils import get_app_code_version
from ray.serve.schema import ServeDeploySchema

from omnishot_ray import __version__
from omnishot_ray.serving.environment import RAY_ENVIRONMENT
from omnishot_ray.settings import load_settings
from tests.clusters import CLUSTER, SERVE_CLUSTER, start_line
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
    assert ".venv" in ignored


def test_docker_ignores_what_podman_ignores() -> None:
    assert (ROOT / ".dockerignore").read_text() == (ROOT / ".containerignore").read_text()


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


def environment_of(manifest) -> dict[str, str]:
    """What the workers' pods are given, without secrets."""
    (container,) = pods(manifest)["workers"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


@pytest.mark.parametrize("name", ["head", "workers"])
def test_a_new_version_is_a_new_image(manifest, name: str) -> None:
    (container,) = pods(manifest)[name]["containers"]
    assert container["image"] == f"localhost/omnishot-ray:{__version__}"
    assert f"-t omnishot-ray:{__version__} ." in CONTAINERFILE.read_text()


def test_manifest_holds_settings_that_fit_its_nodes(manifest) -> None:
    config = yaml.safe_load(manifest["spec"]["serveConfigV2"])
    (application,) = config["applications"]
    assert application["import_path"] == "omnishot_ray.app:build_app"
    settings = load_settings(application["args"], environment_of(manifest))
    assert settings.api.redis_url
    assert settings.api.redis_url == settings.cache.redis_url
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


def check_jobs(args, environment) -> None:
    """Several nodes: a store and a folder that is one node's would split the jobs."""
    jobs = load_settings(args, environment).jobs
    if jobs.enabled:
        assert jobs.redis_url
        assert jobs.blobs_uri
        assert not jobs.blobs_uri.startswith("file:")


def many_nodes(manifest) -> dict[str, tuple[dict, dict]]:
    """Arguments and environment of each configuration for several nodes."""
    of_kuberay = yaml.safe_load(manifest["spec"]["serveConfigV2"])
    of_cluster = yaml.safe_load(SERVE_CLUSTER.read_text())
    return {
        "kuberay": (of_kuberay["applications"][0]["args"], environment_of(manifest)),
        "cluster": (of_cluster["applications"][0]["args"], {}),
    }


@pytest.mark.parametrize("name", ["kuberay", "cluster"])
def test_jobs_of_several_nodes_are_not_kept_on_one(manifest, name: str) -> None:
    args, environment = many_nodes(manifest)[name]
    check_jobs(args, environment)
    on = {**args, "jobs": {}}
    with pytest.raises(AssertionError):
        check_jobs(on, environment)
    check_jobs(on, environment | said_about_jobs(MANIFEST))


def said_about_jobs(path: Path) -> dict[str, str]:
    """The lines of the manifest that switch jobs on, without their comment signs."""
    said = re.findall(r"# - (\{name: OMNISHOT_JOBS__.*\})$", path.read_text(), re.MULTILINE)
    entries = [yaml.safe_load(line) for line in said]
    return {entry["name"]: entry["value"] for entry in entries}


def test_the_commented_settings_of_the_cluster_hold() -> None:
    text = re.sub(
        r"# ((?:cache|api|enabled|redis_url|blobs_uri): )", r"\1", SERVE_CLUSTER.read_text()
    )
    (application,) = yaml.safe_load(text.replace("        enabled: false\n", ""))["applications"]
    settings = load_settings(application["args"], {})
    assert settings.for_jobs
    assert settings.api.redis_url == settings.cache.redis_url != ""
    check_jobs(application["args"], {})


def test_cluster_is_reached_from_outside_and_fits_its_nodes() -> None:
    config = yaml.safe_load(SERVE_CLUSTER.read_text())
    assert config["http_options"] == {"host": "0.0.0.0", "port": 8000}
    settings = load_settings(config["applications"][0]["args"], {})
    cores = len(CLUSTER["provider"]["worker_ips"]) * 8
    gateways = settings.gateways.replicas * settings.gateways.num_cpus
    assert gateways + settings.resizers.max_replicas == cores


def test_a_new_version_changes_what_serve_compares() -> None:
    config = yaml.safe_load(SERVE_CLUSTER.read_text())
    variables = config["applications"][0]["runtime_env"]["env_vars"]
    assert variables == {"CODE_VERSION": __version__}
    before = code_version(config)
    assert code_version(config) == before
    variables["CODE_VERSION"] = "another"
    assert code_version(config) != before


def code_version(config) -> str:
    return get_app_code_version(ServeDeploySchema.model_validate(config).applications[0])


def parsed(role: str) -> dict:
    """The options of the role's `ray start`, read by Ray's own command line."""
    words = shlex.split(start_line(role).replace("$RAY_HEAD_IP", "192.0.2.10"))
    at = words.index("ray")
    assert words[at - 1] == "RAY_AUTH_MODE=token"
    assert words[at + 1] == "start"
    return start.make_context("start", words[at + 2 :]).params


def test_head_has_no_cpus_and_workers_find_it() -> None:
    head, worker = parsed("head"), parsed("worker")
    assert (head["head"], head["num_cpus"], head["dashboard_host"]) == (True, 0, "127.0.0.1")
    assert (worker["head"], worker["num_cpus"]) == (False, None)
    assert worker["address"] == f"192.0.2.10:{head['port']}"


def test_every_node_has_the_token(tmp_path) -> None:
    """It is where Ray looks for it, and made by the command that the file names."""
    assert "ray get-auth-token --generate" in (ROOT / "cluster.yaml").read_text()
    environment = {**os.environ, "HOME": str(tmp_path)}
    command = [str(BIN / "ray"), "get-auth-token", "--generate"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
    (made,) = (path for path in tmp_path.rglob("*") if path.is_file())
    place = f"~/{made.relative_to(tmp_path)}"
    assert CLUSTER["file_mounts"][place] == place


def test_nodes_open_as_many_files_as_they_may() -> None:
    """Under a limit below 65 536 too."""
    for role in ("head", "worker"):
        (limit,) = re.findall(r"\{ ulimit .*?\}", start_line(role))
        command = f"ulimit -Sn 512; ulimit -Hn 1024; {limit} 2>/dev/null && ulimit -n"
        run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
        assert run.stdout == "1024\n"


@pytest.fixture
def spread():
    return runpy.run_path(str(ROOT / "deploy" / "spread.py"))


def test_a_node_takes_new_code(tmp_path, spread) -> None:
    head, node = tmp_path / "head", tmp_path / "node"
    for root in (head, node):
        for name in ("omnishot_ray/__pycache__", "requirements"):
            (root / name).mkdir(parents=True)
        for name in spread["FIXED"]:
            (root / name).write_text("the same")
        (root / "omnishot_ray" / "__pycache__" / "a.pyc").write_text(root.name)
    (head / "omnishot_ray" / "new.sh").write_text("new")
    (head / "omnishot_ray" / "new.sh").chmod(0o755)
    (node / "omnishot_ray" / "gone.py").write_text("old")
    fixed = {name: (head / name).read_bytes() for name in spread["FIXED"]}
    packed = spread["pack"](head)

    (node / "ray.env").write_text("another")
    assert "ray.env is another here" in spread["take"](packed, fixed, str(node))
    assert (node / "omnishot_ray" / "gone.py").exists(), "nothing is changed"

    shutil.copy(head / "ray.env", node / "ray.env")
    assert spread["take"](packed, fixed, str(node)) == ""
    (there,) = (node / "omnishot_ray").iterdir()
    assert (there.name, there.read_text()) == ("new.sh", "new")
    assert os.access(there, os.X_OK)
    assert {path.name for path in node.iterdir()} == {"omnishot_ray", "requirements", "ray.env"}
