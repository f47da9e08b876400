"""The service does what its OpenAPI document says, for whatever schemathesis thinks of."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import Phase, settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import positive_data_acceptance
from schemathesis.transport.serialization import Binary

from omnishot_ray.api.application import describe_api
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.metrics.local import LocalMetrics
from tests.contract.checks import CheckedClient, said
from tests.contract.metered import watched
from tests.pictures import encode, scene

PICTURE = encode(scene(24, 16), "JPEG")

schemathesis.serializer.alias(["image/avif", "image/bmp", "image/tiff"], "image/png")
schema = schemathesis.openapi.from_dict(describe_api(LocalOptimizer(Limits()), ApiConfig()))


@pytest.fixture(scope="module")
def client() -> Iterator[CheckedClient]:
    """Of the whole service."""
    with watched(LocalMetrics()) as client:
        yield client


@schema.hook("map_body")
def send_a_picture(context: Any, body: Any) -> Any:
    """Random bytes are hardly ever a picture, and would hide everything behind a 415."""
    del context
    if isinstance(body, Binary):
        return Binary(PICTURE)
    if isinstance(body, dict) and isinstance(body.get("file"), Binary):
        return {**body, "file": Binary(PICTURE)}
    return body


@schema.parametrize()
@settings(max_examples=8, phases=[Phase.explicit, Phase.generate])
def test_it_does_what_its_document_says(case: Case, client: CheckedClient) -> None:
    wanted = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
    response = client.request(
        str(wanted.method), str(wanted.url), headers=dict(wanted.headers), content=wanted.body
    )
    # A schema cannot say which options contradict each other, nor which lists of names are known.
    case.validate_response(response, excluded_checks=[positive_data_acceptance])
    if case.operation.path == "/api/optimize" and is_legal(case):
        assert response.status_code in {200, 422}, said(response)


def is_legal(case: Case) -> bool:
    """Whether every part of the request is as the document says."""
    return case.meta is not None and case.meta.generation.mode.is_positive
