"""`/api/batches`: many sources in one call."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from omnishot_ray.api.answers import NO_STORE
from omnishot_ray.api.asked import json_answer
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.job_docs import BATCH_DOCS, CANCEL_BATCH_DOCS, SUBMIT_BATCH_DOCS
from omnishot_ray.api.job_requests import read_key, read_new_batch
from omnishot_ray.api.problems import status_of_code
from omnishot_ray.jobs.asking import Filter
from omnishot_ray.jobs.document import describe_batch, describe_job
from omnishot_ray.jobs.model import Batch, Job, Status
from omnishot_ray.jobs.service import Jobs


def build_batch_routes(jobs: Jobs, config: ApiConfig) -> APIRouter:
    """The routes of batches."""
    router = APIRouter(tags=["jobs"])

    @router.post("/api/batches", status_code=202, **SUBMIT_BATCH_DOCS)
    async def submit(request: Request) -> Response:
        """Take many jobs in, all or none."""
        key = read_key(request)
        news = await read_new_batch(request, config, jobs.config)
        batch, created = await jobs.submit_batch(news, key)
        _, counts = await jobs.get_batch(batch.id)
        headers = {"Location": f"/api/batches/{batch.id}", **NO_STORE}
        return json_answer(describe_batch(batch, counts), 202 if created else 200, headers)

    @router.get("/api/batches/{id}", **BATCH_DOCS)
    async def get(id: str, request: Request) -> Response:
        """A batch: how far it is, what has come of it, and what has failed."""
        del request
        batch, counts = await jobs.get_batch(id)
        ended = await jobs.find(Filter(_ENDED, batch_id=id, limit=batch.total))
        return json_answer(_aggregate(batch, counts, ended), 200, {"Cache-Control": "no-cache"})

    @router.delete("/api/batches/{id}", **CANCEL_BATCH_DOCS)
    async def cancel(id: str, request: Request) -> Response:
        """End what is not finished of a batch."""
        del request
        return json_answer(describe_batch(*await jobs.cancel_batch(id)))

    return router


_ENDED = (Status.COMPLETED, Status.FAILED, Status.DEAD)


def _aggregate(batch: Batch, counts: dict[Status, int], ended: Any) -> dict[str, Any]:
    in_order = sorted(ended, key=lambda job: str(job.id))
    return {
        **describe_batch(batch, counts),
        "success": [_success(job) for job in in_order if job.status is Status.COMPLETED],
        "failures": [_failure(job) for job in in_order if job.status is not Status.COMPLETED],
    }


def _success(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "source": _source(job),
        "variants": describe_job(job, status_of_code)["variants"],
    }


def _failure(job: Job) -> dict[str, Any]:
    error = describe_job(job, status_of_code)["error"]
    return {"id": job.id, "source": _source(job), "error": error}


def _source(job: Job) -> dict[str, str]:
    return {"url": job.work.url} if job.work.url else {"upload": job.work.digest}
