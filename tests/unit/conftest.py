"""Unit tests start no Ray."""

import sys
from typing import Any, NoReturn

import pytest


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise RuntimeError("Unit tests start no Ray; a test that needs it belongs in another folder.")


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `ray.init` raise, without importing Ray for tests that never do."""
    ray = sys.modules.get("ray")
    if ray is not None:
        monkeypatch.setattr(ray, "init", _refuse)
