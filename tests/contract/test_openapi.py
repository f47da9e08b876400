"""The service does what its OpenAPI document says, for whatever schemathesis thinks of."""

from collections.abc import Iterator
from time import time
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import Phase, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance
from schemathesis.transport.serialization import Binary

from omnishot_ray.api.application import create_app, describe_api
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.jobs.asking import Worker
from omnishot_ray.jobs.building import JobSettings, build_jobs
from omnishot_ray.metrics.local import LocalMetrics
from omnishot_ray.storage.config import StorageConfig
from omnishot_ray.storage.fetch import FetchConfig
from omnishot_ray.storage.sources import Sources
from tests.contract.checks import CheckedClient, said
from tests.jobbing import Workshop
from tests.pictures import encode, scene
from tests.web import Web

PICTURE = encode(scene(24, 16), "JPEG")

schemathesis.serializer.alias(["image/avif", "image/bmp", "image/tiff"], "image/png")
schema = schemathesis.openapi.from_dict(
    describe_api(LocalOptimizer(Limits()), ApiConfig(), build_jobs(JobSettings()))
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CheckedClient]:
    """With jobs, which nobody works off, though a runner has given a sign of life; no Internet."""
    shop = Workshop(tmp_path_factory.mktemp("jobs"))
    shop.stores.store.note_worker(Worker("runner", time() + 3600, 1, 0))
    sources = Sources(FetchConfig(), StorageConfig(), Web().resolve)
    app = create_app(
        LocalOptimizer(Limits()),
        ApiConfig(),
        None,
        sources,
        jobs=shop.jobs,
        metrics=LocalMetrics(),
    )
    with CheckedClient(app) as client:
        yield client
        assert client.portal is not None
        client.portal.call(sources.close)
    shop.stores.store.close()


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
    excluded: list[Any] = [positive_data_acceptance]
    by_address = case.media_type == "application/json"
    if by_address and response.status_code in {502, 503}:  # nobody is there, and that is said
        excluded.append(not_a_server_error)
    case.validate_response(response, excluded_checks=excluded)
    if case.operation.path == "/api/optimize" and is_legal(case) and not by_address:
        assert response.status_code in {200, 422}, said(response)


def is_legal(case: Case) -> bool:
    """Whether every part of the request is as the document says."""
    return case.meta is not None and case.meta.generation.mode.is_positive
