"""Processes of the service go without what they do not use, and nobody else is kept from it."""

import importlib.util
import subprocess
import sys

import pytest

PANDAS = """
import sys
from omnishot_ray.frugal import hidden, spare_arrow_pandas
with hidden("pandas"):
    import ray.serve
spare_arrow_pandas()
import pyarrow
pyarrow.table({"a": [1, 2]})
assert "pandas" not in sys.modules, "pandas was imported"
import pandas
"""


CIRCUIT = """
import sys
import omnishot_ray.circuit
assert "redis" not in sys.modules, "redis was imported"
import redis
"""


@pytest.mark.skipif(
    importlib.util.find_spec("pandas") is None, reason="there is no pandas to be kept out"
)
def test_serve_and_arrow_find_no_pandas_and_others_do() -> None:
    subprocess.run([sys.executable, "-c", PANDAS], check=True, timeout=100)


def test_circuits_bring_no_redis_client() -> None:
    subprocess.run([sys.executable, "-c", CIRCUIT], check=True, timeout=100)


PICKLING = """
import sys
import omnishot_ray.serving.preload
from ray._private.worker import global_worker
from ray._private.serialization import SerializationContext
SerializationContext(global_worker)
assert "pyarrow" not in sys.modules, "pyarrow was imported"
"""


def test_ray_pickles_without_arrow_where_it_serves() -> None:
    subprocess.run([sys.executable, "-c", PICKLING], check=True, timeout=100)
