"""The files for a cluster, read by Ray's own validators, and `serve run` with the real one."""

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.serve.schema import ServeDeploySchema

from tests.integration.service import BIN, ROOT, Service, free_port
from tests.integration.test_service import SMALL, post, size_of


def test_cluster_file_is_valid() -> None:
    cluster = prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text()))
    validate_config(cluster)
    assert cluster["provider"]["type"] == "local"


def test_serve_config_is_valid() -> None:
    schema = ServeDeploySchema.model_validate(
        yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    )
    assert schema.applications[0].import_path == "omnishot_ray.app:build_app"


def test_kuberay_manifest_holds_a_valid_serve_config() -> None:
    manifest = yaml.safe_load((ROOT / "deploy" / "kuberay" / "rayservice.yaml").read_text())
    schema = ServeDeploySchema.model_validate(yaml.safe_load(manifest["spec"]["serveConfigV2"]))
    assert schema.applications[0].import_path == "omnishot_ray.app:build_app"


def test_serve_run_gives_the_same_service(tmp_path) -> None:
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    port = free_port()
    config["http_options"]["port"] = port
    path = tmp_path / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config))
    lines = (ROOT / "ray.env").read_text().splitlines()
    environment = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    environment |= {
        "RAY_AUTH_MODE": "disabled",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port()),
    }
    command = [str(BIN / "serve"), "run", "--address", "local", str(path)]
    service = Service(command, port, environment)
    try:
        service.wait_until_ready()
        assert service.replicas("Gateway")
        assert service.replicas("Resizer")
        answer, content = post(service, "/api/optimize?platform=instagram-post", SMALL)
        assert answer.status == 200
        assert size_of(content) == (1080, 1080)
    finally:
        service.stop()
