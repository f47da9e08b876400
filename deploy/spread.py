"""Give the code of this folder to the nodes of a running cluster, for a new version:

    ray up --no-restart cluster.yaml
    ray exec cluster.yaml 'cd omnishot-ray && RAY_AUTH_MODE=token .venv/bin/python deploy/spread.py'

`ray up` copies it to the head, and Ray's autoscaler to nodes that it starts later, but not to those
that run. Packages and Ray's environment are not changed under a service: a node where they differ
keeps its code, and this ends with 1.
"""

import io
import shutil
import sys
import tarfile
from pathlib import Path

import click

PACKAGE = "omnishot_ray"
FIXED = ("requirements/serve.lock", "ray.env")


def pack(root: Path) -> bytes:
    """The package without what Python makes of it."""

    def without_caches(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if Path(member.name).name == "__pycache__" else member

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(root / PACKAGE, PACKAGE, filter=without_caches)
    return packed.getvalue()


def take(packed: bytes, fixed: dict[str, bytes], folder: str) -> str:
    """Put the package in the place of the one that is there; says what hinders it, or nothing."""
    root = Path(folder).expanduser()
    for name, wanted in fixed.items():
        if not (root / name).exists() or (root / name).read_bytes() != wanted:
            return f"{root / name} is another here: start a second cluster"
    new, old = root / ".spread-new", root / ".spread-old"
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(new)
    (root / PACKAGE).rename(old)
    (new / PACKAGE).rename(root / PACKAGE)
    shutil.rmtree(old)
    shutil.rmtree(new)
    return ""


@click.command(help="Give the code of this folder to the other nodes of the cluster.")
@click.option("--folder", default="~/omnishot-ray", help="Where it is on them.")
@click.option("--address", default="auto", help="The cluster's.")
def main(folder: str, address: str) -> None:
    """Ask every node but this one to take it."""
    import ray  # noqa: PLC0415
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415

    root = Path(__file__).resolve().parents[1]
    ray.init(address=address, log_to_driver=False, configure_logging=False)
    packed = ray.put(pack(root))
    fixed = {name: (root / name).read_bytes() for name in FIXED}
    here = ray.get_runtime_context().get_node_id()
    nodes = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] != here]
    asked = [
        ray.remote(take)
        .options(
            num_cpus=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        )
        .remote(packed, fixed, folder)
        for node in nodes
    ]
    faults = ray.get(asked)
    for node, fault in zip(nodes, faults, strict=True):
        click.echo(f"{node['NodeManagerAddress']}: {fault or 'has the new code'}")
    sys.exit(any(faults))


if __name__ == "__main__":
    main()
