"""Processes of the service go without pandas, and nobody else is kept from it."""

import importlib.util
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pandas") is None, reason="there is no pandas to be kept out"
)

PROGRAM = """
import sys
from omnishot_ray.serving.frugal import pandas_hidden, spare_arrow_pandas
with pandas_hidden():
    import ray.serve
spare_arrow_pandas()
import pyarrow
pyarrow.table({"a": [1, 2]})
assert "pandas" not in sys.modules, "pandas was imported"
import pandas
"""


def test_serve_and_arrow_find_no_pandas_and_others_do() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=100)
