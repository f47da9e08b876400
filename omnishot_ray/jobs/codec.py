"""Jobs and batches out of what a store has kept.

Fields that are gone are passed over, new ones take their defaults: jobs outlive a release.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson

from omnishot_ray.jobs.model import Batch, Failure, Job, Source, Status, VariantResult, Work


def read_job(data: bytes | str) -> Job:
    """A job as `as_json` wrote it."""
    given = orjson.loads(data)
    work = _known(Work, given["work"])
    work["variants"] = tuple(work["variants"])
    return Job(
        **{
            **_known(Job, given),
            "work": Work(**work),
            "status": Status(given["status"]),
            "source": Source(**given["source"]) if given.get("source") else None,
            "error": Failure(**given["error"]) if given.get("error") else None,
            "results": tuple(map(_read_result, given["results"])),
        }
    )


def _read_result(given: dict[str, Any]) -> VariantResult:
    values = _known(VariantResult, given)
    values["crop"] = tuple(values["crop"]) if values.get("crop") else None
    values["failure"] = Failure(**values["failure"]) if values.get("failure") else None
    return VariantResult(**values)


def _known(kind: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    names = {item.name for item in fields(kind)}
    return {name: value for name, value in given.items() if name in names}


def read_batch(data: bytes | str) -> Batch:
    """A batch as `as_json` wrote it."""
    given = orjson.loads(data)
    jobs = tuple(read_job(orjson.dumps(one)) for one in given["jobs"])
    return Batch(**{**_known(Batch, given), "jobs": jobs})
