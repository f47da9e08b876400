"""What is installed: pillow-simd, and nothing that would overwrite it."""

import importlib.metadata
import re

import PIL
import pytest

from omnishot_ray.imaging.simd import compiled_level

DISTRIBUTIONS = list(importlib.metadata.distributions())


def test_pil_is_pillow_simd() -> None:
    assert re.search(r"\.post\d+$", PIL.__version__)
    assert "pillow" not in {dist.metadata["Name"].lower() for dist in DISTRIBUTIONS}


def test_nothing_depends_on_plain_pillow() -> None:
    guilty = [
        dist.metadata["Name"]
        for dist in DISTRIBUTIONS
        for requirement in dist.requires or []
        if re.match(r"pillow\b(?!-)", requirement, re.IGNORECASE) and "extra ==" not in requirement
    ]
    assert guilty == []


def test_compiled_level_is_what_the_cpu_has() -> None:
    try:
        with open("/proc/cpuinfo") as lines:
            flags = next((line for line in lines if line.startswith("flags")), "").split()
    except OSError:
        pytest.fail("this test needs /proc/cpuinfo")
    assert compiled_level() == ("AVX2" if "avx2" in flags else "SSE4")
