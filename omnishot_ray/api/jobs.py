"""`/api/jobs`, `/api/uploads` and `/api/queue/stats`: work that is answered later."""

from time import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from omnishot_ray.api.answers import NO_STORE
from omnishot_ray.api.asked import json_answer
from omnishot_ray.api.body import read_upload
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.fingerprint import cache_key, matches_there
from omnishot_ray.api.job_docs import (
    CANCEL_DOCS,
    EVENTS_DOCS,
    JOB_DOCS,
    JOBS_DOCS,
    RESULT_DOCS,
    RETRY_DOCS,
    STATS_DOCS,
    SUBMIT_DOCS,
    UPLOAD_DOCS,
)
from omnishot_ray.api.job_events import EventStreams
from omnishot_ray.api.job_requests import read_filter, read_key, read_new_job
from omnishot_ray.api.negotiation import list_header
from omnishot_ray.api.problems import status_of_code
from omnishot_ray.cache.front import CachingOptimizer
from omnishot_ray.digest import content_digest
from omnishot_ray.errors import FieldError, InvalidParameters
from omnishot_ray.imaging.formats import Format
from omnishot_ray.jobs.asking import Stats
from omnishot_ray.jobs.document import describe_job, utc
from omnishot_ray.jobs.model import Job, Status
from omnishot_ray.jobs.service import Jobs, NewJob

_FOR_GOOD = "public, max-age=31536000, immutable"


def build_job_routes(
    jobs: Jobs, config: ApiConfig, front: CachingOptimizer | None = None
) -> APIRouter:
    """The routes of jobs; what `front` holds completes a job at once."""
    router = APIRouter(tags=["jobs"])
    streams = EventStreams(jobs)

    @router.post("/api/uploads", status_code=201, **UPLOAD_DOCS)
    async def upload(request: Request) -> Response:
        """Keep a picture for jobs to come. The same bytes have the same id."""
        picture = await read_upload(request, config)
        if picture.fields:
            faults = tuple(FieldError(name[:80], "unknown") for name in picture.fields)
            raise InvalidParameters("A picture is kept as it is; send it alone.", faults)
        digest = await jobs.upload(picture.data)
        return json_answer({"id": digest, "bytes": len(picture.data)}, 201)

    @router.post("/api/jobs", status_code=202, **SUBMIT_DOCS)
    async def submit(request: Request) -> Response:
        """Take a job in: 202, or 200 with the job that does the same already."""
        key = read_key(request)
        new = await read_new_job(request, config, jobs.config)
        taken = await jobs.submit(new, key, _made_before(new, front))
        headers = {"Location": f"/api/jobs/{taken.job.id}", **NO_STORE}
        return _job(taken.job, 202 if taken.created else 200, headers)

    @router.get("/api/jobs", **JOBS_DOCS)
    async def find(request: Request) -> Response:
        """Jobs, the newest first, page by page."""
        wanted = read_filter(request)
        found = await jobs.find(wanted)
        cursor = found[-1].id if len(found) == wanted.limit else None
        document = {
            "jobs": [describe_job(job, status_of_code) for job in found],
            "next_cursor": cursor,
        }
        return json_answer(document)

    @router.get("/api/jobs/{id}", **JOB_DOCS)
    async def get(id: str, request: Request) -> Response:
        """Where a job stands."""
        job = await jobs.get(id)
        headers = _caching(job)
        if matches_there(list_header(request, "if-none-match"), headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return _job(job, 200, headers)

    @router.delete("/api/jobs/{id}", **CANCEL_DOCS)
    async def cancel(id: str, request: Request) -> Response:
        """End a job that is not finished."""
        del request
        return _job(await jobs.cancel(id), 200, NO_STORE)

    @router.post("/api/jobs/{id}/retry", status_code=202, **RETRY_DOCS)
    async def retry(id: str, request: Request) -> Response:
        """Start a failed, dead or cancelled job anew."""
        del request
        return _job(await jobs.retry(id), 202, {"Location": f"/api/jobs/{id}", **NO_STORE})

    @router.get("/api/jobs/{id}/events", **EVENTS_DOCS)
    async def events(id: str, request: Request) -> Response:
        """Progress as it comes; 204 tells a browser that has heard the end not to come back."""
        job = await jobs.get(id)
        last = request.headers.get("last-event-id", "")
        seen = int(last) if last.isascii() and last.isdigit() and len(last) < 10 else 0
        if job.is_finished and seen >= job.version:
            return Response(status_code=204, headers=NO_STORE)
        # nginx would wait for more to come, unless it is told not to.
        headers = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            streams.follow(job, seen), headers=headers, media_type="text/event-stream"
        )

    @router.get("/api/jobs/{id}/results/{name}", **RESULT_DOCS)
    async def result(id: str, name: str, request: Request) -> Response:
        """The bytes of a variant. They never change, so they may be kept for good."""
        one = await jobs.variant(id, name)
        headers = {"ETag": f'"{one.digest}"', "Cache-Control": _FOR_GOOD}
        if matches_there(list_header(request, "if-none-match"), headers["ETag"]):
            return Response(status_code=304, headers=headers)
        data = await jobs.bytes_of(one)
        headers["X-OmniShot-Result"] = f"{one.width}x{one.height};{one.format};{one.bytes}"
        if one.crop:
            headers["X-OmniShot-Crop"] = ",".join(map(str, one.crop))
        return Response(data, headers=headers, media_type=Format(one.format).mime)

    @router.get("/api/queue/stats", **STATS_DOCS)
    async def stats(_request: Request) -> Response:
        """How the queue stands."""
        return json_answer(describe_stats(await jobs.stats(), time()))

    return router


def _made_before(new: NewJob, front: CachingOptimizer | None) -> Any:
    """The result, when a request for the same has been answered from here before."""
    if front is None or not new.data:
        return None
    return front.get_now(cache_key(content_digest(new.data), new.wanted))


def _caching(job: Job) -> dict[str, str]:
    done = job.status is Status.COMPLETED
    return {
        "ETag": f'"{job.id}-{job.version}"',
        "Cache-Control": "public, max-age=3600" if done else "no-cache",
    }


def _job(job: Job, status: int, headers: dict[str, str]) -> Response:
    return json_answer(describe_job(job, status_of_code), status, headers)


_NAMES = {
    "waiting": (Status.QUEUED,),
    "active": (Status.ACTIVE,),
    "delayed": (Status.DELAYED,),
    "completed": (Status.COMPLETED,),
    "failed": (Status.FAILED,),
    "cancelled": (Status.CANCELLED,),
    "dead": (Status.DEAD,),
}


def describe_stats(stats: Stats, now: float) -> dict[str, Any]:
    """The document of `GET /api/queue/stats`."""
    by_priority: dict[str, dict[str, int]] = {}
    for priority in sorted({priority for _, priority in stats.counts}):
        by_priority[str(priority)] = {
            name: sum(stats.counts.get((status, priority), 0) for status in statuses)
            for name, statuses in _NAMES.items()
        }
    oldest = stats.oldest_queued_at
    return {
        **{name: stats.of(*statuses) for name, statuses in _NAMES.items()},
        "stalled": stats.stalled,
        "by_priority": by_priority,
        "rate_per_minute": stats.finished_lately,
        "oldest_waiting_s": None if oldest is None else round(max(0.0, now - oldest), 3),
        "workers": [
            {
                "name": worker.name,
                "slots": worker.slots,
                "active": worker.active,
                "seen_at": utc(worker.seen_at),
            }
            for worker in stats.workers
        ],
    }
