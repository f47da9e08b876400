"""A Ray cluster on this machine by the commands of `cluster.yaml`, for the tests."""

import os
import shlex
import subprocess
from pathlib import Path

import yaml

from tests.integration.service import BIN, ROOT, Service, answers, free_port, wait_for

CLUSTER = yaml.safe_load((ROOT / "cluster.yaml").read_text())
SERVE_CLUSTER = ROOT / "deploy" / "serve_cluster.yaml"


def start_line(role: str) -> str:
    """The command that starts Ray on a node, as it is in the file. The one before it is
    `ray stop`, which would end every Ray of this machine.
    """
    stop, start = CLUSTER[f"{role}_start_ray_commands"]
    assert stop.endswith(" && ray stop")
    return start


class LocalCluster(Service):
    """A head and a worker in a home of their own, the project in it where a node has it.

    Only what two nodes and others on one machine need is changed: ports, and the head's
    autoscaler, which would want machines.
    """

    def __init__(self, home: Path, cpus: int = 2) -> None:
        self.home = home
        project = home / "omnishot-ray"
        project.symlink_to(ROOT)
        self.variables = {
            "HOME": str(home),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port()),
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        }
        gcs, self.dashboard = free_port(), f"http://127.0.0.1:{(dashboard := free_port())}"
        self.gcs = f"127.0.0.1:{gcs}"
        head = self._here("head", gcs).replace(
            " --autoscaling-config=~/ray_bootstrap_config.yaml", ""
        )
        head += (
            f" --node-ip-address=127.0.0.1 --dashboard-port={dashboard} --temp-dir={home}/r"
            f" --ray-client-server-port={free_port()} --dashboard-agent-listen-port={free_port()}"
        )
        worker = self._here("worker", gcs)
        worker += (
            f" --node-ip-address=127.0.0.1 --num-cpus={cpus}"
            f" --dashboard-agent-listen-port={free_port()}"
        )
        lines = [
            f"( {head} )",
            f"export RAY_HEAD_IP=127.0.0.1; ( {worker} )",
            "exec sleep infinity",
        ]
        self.run("ray", "get-auth-token", "--generate")
        super().__init__(["bash", "-c", " && ".join(lines)], free_port(), self.variables)

    @staticmethod
    def _here(role: str, gcs: int) -> str:
        line = start_line(role).replace("6379", str(gcs))
        return line.replace(" && . .venv/bin/activate", "")  # the tests' Python is on PATH

    def run(self, *command: str, deadline_s: float = 60) -> str:
        """What a command says that is run with this home, and has to end with 0."""
        run = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
            timeout=deadline_s,
            check=False,
        )
        assert run.returncode == 0, f"{shlex.join(command)}: {run.stdout}{run.stderr}"
        return run.stdout

    def wait_for_nodes(self) -> None:
        """Until Ray runs on both."""

        def both() -> bool:
            assert self.process.poll() is None, f"the cluster ended:\n{self.output()}"
            return self.output().count("Ray runtime started") == 2

        wait_for(both, 60, "two nodes")

    def deploy(self, config: Path) -> None:
        """What the instructions say, with this cluster's dashboard."""
        self.run(
            "env",
            "RAY_AUTH_MODE=token",
            "serve",
            "deploy",
            "--address",
            self.dashboard,
            str(config),
        )

    def config(self, version: str) -> Path:
        """The file for clusters, with what one machine needs; `version` as a new version has it."""
        given = yaml.safe_load(SERVE_CLUSTER.read_text())
        given["proxy_location"] = "HeadOnly"  # one machine has one port
        given["http_options"] = {"host": "127.0.0.1", "port": self.port}
        (application,) = given["applications"]
        application["runtime_env"]["env_vars"]["CODE_VERSION"] = version
        application["args"]["gateways"] = {"replicas": 2, "num_cpus": 0.5}
        application["args"]["resizers"] = {"min_replicas": 1, "max_replicas": 1}
        path = self.home / "serve_cluster.yaml"
        path.write_text(yaml.safe_dump(given))
        return path

    def wait_until_ready(self, deadline_s: float = 90) -> None:
        wait_for(lambda: answers(f"{self.url}/ready"), deadline_s, "readiness")
