"""A job as it is told to people and programs."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from omnishot_ray.jobs.model import Batch, Failure, Job, Status, VariantResult

StatusOf = Callable[[str], int]
"""The HTTP status that goes with the code of a problem."""


def public_status(status: Status) -> str:
    """A job that waits for its next attempt is queued, as far as anybody else is concerned."""
    return Status.QUEUED if status is Status.DELAYED else status


def describe_job(job: Job, status_of: StatusOf | None = None) -> dict[str, Any]:
    """The document of `GET /api/jobs/{id}`, and the `data` of a callback."""
    return {
        "id": job.id,
        "status": public_status(job.status),
        "progress": job.progress,
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "priority": job.priority,
        "timeout_s": job.timeout_s,
        "user_id": job.user_id or None,
        "batch_id": job.batch_id or None,
        "created_at": utc(job.created_at),
        "started_at": utc(job.started_at),
        "finished_at": utc(job.finished_at),
        "next_attempt_at": utc(job.due_at) if job.status is Status.DELAYED else None,
        "source": {
            "width": job.source.width,
            "height": job.source.height,
            "format": job.source.format,
            "bytes": job.source.bytes,
        }
        if job.source
        else None,
        "variants": _variants(job, status_of),
        "error": _problem(job.error, job.request_id or job.id, status_of) if job.error else None,
        "callback": {
            "url": job.work.callback_url,
            "attempts": job.callback_attempts,
            "pending": job.callback_at is not None or not job.is_finished,
            "error": job.callback_error or None,
        }
        if job.work.callback_url
        else None,
    }


def describe_batch(batch: Batch, counts: Mapping[Status, int]) -> dict[str, Any]:
    """A batch by figures; its jobs are listed beside it."""
    done = sum(counts.get(status, 0) for status in (Status.COMPLETED, Status.FAILED, Status.DEAD))
    cancelled = counts.get(Status.CANCELLED, 0)
    if batch.cancelled_at is not None:
        cancelled += batch.total - batch.enqueued
    ended = done + cancelled
    active = counts.get(Status.ACTIVE, 0)
    if ended >= batch.total:
        status = "cancelled" if batch.cancelled_at is not None else "completed"
    else:
        status = "active" if active or ended else "queued"
    return {
        "id": batch.id,
        "status": status,
        "progress": 100 * ended // batch.total,
        "total": batch.total,
        "queued": batch.total - ended - active,
        "active": active,
        "completed": counts.get(Status.COMPLETED, 0),
        "failed": counts.get(Status.FAILED, 0) + counts.get(Status.DEAD, 0),
        "cancelled": cancelled,
        "user_id": batch.user_id or None,
        "created_at": utc(batch.created_at),
        "cancelled_at": utc(batch.cancelled_at),
    }


def result_url(job: Job, name: str) -> str:
    """Where a variant's bytes are."""
    return f"/api/jobs/{job.id}/results/{name}"


def _variants(job: Job, status_of: StatusOf | None) -> list[dict[str, Any]]:
    made = {one.name: one for one in job.results}
    names = [str(values["name"]) for values in job.work.variants]
    return [
        _variant(job, made[name], status_of)
        if name in made
        else {"name": name, "status": "pending", "error": None}
        for name in names
    ]


def _variant(job: Job, one: VariantResult, status_of: StatusOf | None) -> dict[str, Any]:
    if one.failure:
        return {
            "name": one.name,
            "status": "error",
            "error": _problem(one.failure, job.request_id or job.id, status_of),
        }
    return {
        "name": one.name,
        "status": "ok",
        "width": one.width,
        "height": one.height,
        "format": one.format,
        "bytes": one.bytes,
        "etag": f'"{one.digest}"',
        "crop": list(one.crop) if one.crop else None,
        "url": result_url(job, one.name),
        "output": one.output or None,
        "error": None,
    }


def _problem(failure: Failure, instance: str, status_of: StatusOf | None) -> dict[str, Any]:
    status = {"status": status_of(failure.code)} if status_of else {}
    return {
        "type": f"/problems/{failure.code}",
        "title": failure.title,
        **status,
        "detail": failure.detail,
        "instance": instance,
        "errors": [],
    }


def utc(seconds: float | None) -> str | None:
    """A time as RFC 3339 writes it, in milliseconds."""
    if seconds is None:
        return None
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
