"""`jobs.*`: the store, the schedule, the runner."""

import asyncio
import os
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time, time
from typing import Any

import orjson

from benchmarks.limits import PHOTO
from benchmarks.parts.asking import ask, face
from benchmarks.parts.case import (
    FOLDER,
    REDIS,
    Case,
    Figures,
    filled,
    folder_bytes,
    pace_of,
    place,
    rendition,
    spending,
)
from benchmarks.peers.wrk import unique
from omnishot_ray.api.job_events import EventStreams
from omnishot_ray.errors import JobUnknown, Overloaded, TaskTimeout
from omnishot_ray.imaging.header import read_header
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.pipeline import process
from omnishot_ray.jobs import model
from omnishot_ray.jobs.asking import Key
from omnishot_ray.jobs.attempt import Means, attempt
from omnishot_ray.jobs.building import JobSettings, build_jobs, build_runner, build_store
from omnishot_ray.jobs.config import JobsConfig
from omnishot_ray.jobs.model import Batch, Job, Status, VariantResult
from omnishot_ray.jobs.service import NewJob
from omnishot_ray.jobs.store import Store
from omnishot_ray.jobs.threads import Threads
from omnishot_ray.jobs.turns import backoff
from omnishot_ray.jobs.work import in_chunks
from omnishot_ray.storage.blobs import Blobs
from tests.jobbing import NOW, PASSING, WORK, LocalEngine, a_job

_SMALL = (PHOTO.parent / "valid" / "photo_flower_480x360.jpg").read_bytes()
_WANTED = (rendition(0, width=60),)
_RESULTS = tuple(VariantResult(f"{n}", f"{n:x}" * 64, 400, 300, "jpeg", 20_000) for n in range(4))
_DAY_S, _HOUR_S = 86_400.0, 3600.0
_LIVE_S = 4.0


def _store(folder: Path, **config: Any) -> Store:
    return build_store(JobsConfig(dir=str(folder), **config), folder)


def _finish(store: Store, job: Job, now: float) -> None:
    store.submit(job, now, dedupe=False)
    (claimed,) = store.claim("runner", now, 15.0)
    store.update(claimed.id, partial(model.advance, attempt=1, source=None, results=_RESULTS))
    store.update(claimed.id, partial(model.complete, attempt=1, now=now))


def _worked_off(store: Store, jobs: int = 100) -> Figures:
    """The life of a job in a store, one after the other."""
    times: dict[str, list[float]] = {"taken in": [], "claimed": [], "completed": []}
    with spending() as spent:
        for number in range(jobs):
            marks = [perf_counter()]
            job = a_job(number)
            store.submit(job, NOW + number, dedupe=False)
            marks.append(perf_counter())
            store.claim("runner", NOW + number, 15.0)
            marks.append(perf_counter())
            store.update(job.id, partial(model.complete, attempt=1, now=NOW + number))
            marks.append(perf_counter())
            for name, began, ended in zip(times, marks, marks[1:], strict=False):
                times[name].append(ended - began)
    return {
        **{f"ms until {name}": median(each) * 1e3 for name, each in times.items()},
        "core-ms of it in all": spent.core_s / jobs * 1e3,
    }


def _kept_in(url: str) -> Figures:
    with filled(url) as at, place() as folder:
        store = _store(folder, redis_url=at)
        figures = _worked_off(store)
        store.close()
    return figures


def _kept_under(folder: str) -> Figures:
    """The default is on the disk of whoever runs it; a folder beside it stands for it here."""
    there = Path(folder).expanduser().parent
    there.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=there) as own:
        store = _store(Path(own))
        figures = _worked_off(store)
        store.close()
    return figures


def _blobs(uri: str) -> Figures:
    with filled(uri) as at, place() as folder:
        blobs = Blobs(at or folder.as_uri())
        pictures = iter([os.urandom(100_000) for _ in range(250)])
        put = pace_of(lambda: blobs.put(next(pictures)), 50)
        digest = blobs.put(_SMALL)
        got = pace_of(lambda: blobs.get(digest), 50)
    return {"µs to put 100 kB": put.us, "µs to get a picture": got.us}


def _chunked(chunk_ms: float) -> Figures:
    data = PHOTO.read_bytes()
    wanted = [rendition(n, width=400 + 50 * n, format="webp", effort=4) for n in range(16)]
    chunks = in_chunks(len(data), read_header(data), wanted, chunk_ms)
    spans = []
    for chunk in chunks:
        with spending() as spent:
            process(data, chunk, Limits())
        spans.append(spent.core_s * 1e3)
    return {
        "chunks": len(chunks),
        "core-ms in all": sum(spans),
        "of the longest, which a crash loses": max(spans),
    }


def _waiting(most: int) -> Figures:
    with place() as folder:
        store = _store(folder, max_waiting=most)
        for begin in range(0, most, 1000):
            jobs = tuple(
                replace(a_job(n), user_id=f"user-{n % 20}")
                for n in range(begin, min(begin + 1000, most))
            )
            batch = Batch(f"batch-{begin}", NOW, len(jobs), jobs=jobs)
            store.submit_batch(batch, NOW)
            while store.enqueue(batch.id, NOW):
                continue
        turned_away = 0
        try:
            store.submit(a_job(most + 1), NOW)
        except Overloaded:
            turned_away = 1
        size = folder_bytes(folder)
        claimed = pace_of(lambda: store.claim("runner", NOW, 15.0), 10)
        stats = pace_of(lambda: store.stats(NOW), 10)
        store.close()
    return {
        "one more turned away": turned_away,
        "MB on disk": size / 1e6,
        "ms to claim one": claimed.us / 1e3,
        "ms of `GET /api/queue/stats`": stats.us / 1e3,
    }


class _Hanging:
    """An engine that never comes to an end."""

    slots = 1

    async def run(self, task: object, limit_s: float) -> Any:
        del task, limit_s
        await asyncio.Event().wait()


async def _timed_out(seconds: float) -> Figures:
    with place() as folder:
        jobs = build_jobs(JobSettings(JobsConfig(dir=str(folder), timeout_s=seconds)))
        stores = build_runner(JobSettings(JobsConfig(dir=str(folder))), _Hanging(), Limits())
        taken = await jobs.submit(NewJob(_WANTED, _SMALL))
        threads = Threads(1, "attempt")
        means = replace(stores._means, engine=_Hanging(), threads=threads)
        assert isinstance(means, Means)

        async def keep(*_: object) -> None:
            return None

        began = perf_counter()
        with suppress(TaskTimeout):
            await attempt(taken.job, means, keep)
        took_s = perf_counter() - began
        await threads.close()
        await stores.stop()
        await jobs.close()
    return {"s of an attempt": took_s}


async def _longest(seconds: float) -> Figures:
    with place() as folder:
        jobs = build_jobs(JobSettings(JobsConfig(dir=str(folder), max_timeout_s=seconds)))
        app = face(jobs=jobs)
        statuses = []
        for wanted in (seconds, seconds + 1):
            document = {"source": {"url": "https://example.org/a.jpg"}, "timeout_s": wanted}
            body = orjson.dumps({**document, "variants": [{"name": "a", "width": 20}]})
            answer = await ask(app, "POST", "/api/jobs", body, {"content-type": "application/json"})
            statuses.append(answer.status)
        await jobs.close()
    return {"status of a job that asks for it": statuses[0], "of a second more": statuses[1]}


def _given_up(jobs: int = 30, backoff_s: float = 2.0, max_attempts: int = 3) -> Figures:
    """Every attempt fails at once; what is waited for passes at once."""
    spans, attempts = [], []
    with place() as folder:
        store = _store(folder, max_attempts=max_attempts, backoff_s=backoff_s)
        for number in range(jobs):
            now = NOW + number
            job = replace(a_job(number), max_attempts=max_attempts, queued_at=now)
            store.submit(job, now, dedupe=False)
            began = now
            while job.status is not Status.DEAD:
                (job,) = store.claim("runner", now, 15.0)
                delay_s = backoff(job.failures + job.stalls + 1, backoff_s)
                job = store.update(
                    job.id,
                    lambda one, at=now, delay=delay_s: model.fail(  # type: ignore[misc]
                        one, one.attempts, PASSING, at, delay
                    ),
                )
                now = max(now, job.due_at) if job.status is Status.DELAYED else now
            spans.append(now - began)
            attempts.append(job.attempts)
        store.close()
    return {
        "attempts": mean(attempts),
        "s until it is given up, on average": mean(spans),
        "s at most": max(spans),
    }


def _leased(seconds: float, beats: int = 5) -> Figures:
    with place() as folder:
        store = _store(folder)
        store.submit(a_job(), NOW)
        store.claim("dead", NOW, seconds)
        now = NOW
        while not store.requeue_stalled(now, 10):
            now += 1.0  # as often as a runner looks
        held = {}
        for number in range(2, 10):
            store.submit(a_job(number), NOW)
        for job in store.claim("alive", now, seconds, 8):
            held[job.id] = job.attempts
        beat = pace_of(lambda: store.prolong(held, now, seconds), 20)
        store.close()
    return {
        "s until a dead runner's job is in line again": now - NOW,
        "core-ms a minute for 8 jobs at work": beat.core_us / 1e3 * 60.0 * beats / seconds,
    }


def _stalled(most: int, lease_s: float = 15.0) -> Figures:
    with place() as folder:
        store = _store(folder)
        job = store.submit(a_job(), NOW).job
        now = NOW
        while job.status is not Status.DEAD:
            store.claim("dying", now, lease_s)
            now += lease_s
            (job,) = store.requeue_stalled(now, most)
        store.close()
    return {"runners lost to it": job.attempts, "minutes with the default lease": (now - NOW) / 60}


def _aged(seconds: float, longest: int = 1000) -> Figures:
    """One job a second is done, and one of the most urgent comes every second."""
    with place() as folder:
        store = _store(folder, ageing_s=seconds)
        waits: dict[int, int] = {}
        late = {replace(a_job(p), priority=p, queued_at=NOW).id: p for p in (5, 10)}
        for job_id, priority in late.items():
            store.submit(Job(job_id, WORK, NOW, priority=priority, queued_at=NOW), NOW)
        for second in range(1, longest):
            now = NOW + second
            urgent = Job(f"{second + 100:032x}", WORK, now, priority=1, queued_at=now)
            store.submit(urgent, now, dedupe=False)
            (job,) = store.claim("runner", now, 15.0)
            if job.id in late:
                waits[late[job.id]] = second
            if len(waits) == len(late):
                break
        store.close()
    return {f"s that priority {p} waits": waits.get(p, float("inf")) for p in (5, 10)}


async def _polled(seconds: float) -> Figures:
    with place() as folder:
        settings = JobSettings(JobsConfig(dir=str(folder), poll_s=seconds))
        jobs, engine = build_jobs(settings), LocalEngine()
        runner = build_runner(settings, engine, Limits())
        running = asyncio.create_task(runner.run())
        await asyncio.sleep(0.5)
        spent, began = process_time(), perf_counter()
        await asyncio.sleep(_LIVE_S)
        share = (process_time() - spent) / (perf_counter() - began)
        waits = []
        for number in range(8):
            await asyncio.sleep(0.3 + number * 0.037)  # not in step with it
            began, before = perf_counter(), len(engine.tasks)
            await jobs.submit(NewJob(_WANTED, unique(_SMALL)))
            while len(engine.tasks) == before and perf_counter() < began + 10 * seconds + 1:
                await asyncio.sleep(0.002)
            waits.append(perf_counter() - began)
        await runner.stop()
        await asyncio.gather(running, return_exceptions=True)
        await jobs.close()
    return {
        "% of a core of an idle runner": share * 100.0,
        "ms until a job is begun": mean(waits) * 1e3,
    }


def _remembered(seconds: float, days: int = 60) -> Figures:
    """One job ends every day."""
    with place() as folder:
        store = _store(folder, keep_s=seconds)
        for day in range(days):
            _finish(store, a_job(day), NOW + day * _DAY_S)
        while store.forget(NOW + (days - 1) * _DAY_S - seconds):
            continue
        kept = sum(store.stats(NOW + days * _DAY_S).counts.values())
        documents = [len(job.as_json()) for job in (store.get(a_job(days - 1).id),) if job]
        store.close()
    return {"of 60 jobs, one a day, kept": kept, "bytes of one with 4 results": documents[0]}


def _keyed(seconds: float, hours: int = 240) -> Figures:
    """A key an hour; then they come again, the last one first."""
    keys = [Key(f"{hour:064x}", "f" * 64) for hour in range(hours)]
    now = NOW + (hours - 1) * _HOUR_S
    with place() as folder:
        store = _store(folder, key_life_s=seconds)
        for hour, key in enumerate(keys):
            store.submit(a_job(hour), NOW + hour * _HOUR_S, dedupe=False, key=key)
        ((kept,),) = store._query("SELECT count(*) FROM keys")  # type: ignore[attr-defined]
        known = 0
        while not store.submit(
            a_job(hours + known), now, dedupe=False, key=keys[hours - 1 - known]
        ).created:
            known += 1
        store.close()
    return {"of a key an hour kept": kept, "of them told from new ones": known}


async def _batched(sources: int) -> Figures:
    with place() as folder:
        jobs = build_jobs(JobSettings(JobsConfig(dir=str(folder), max_batch=sources)))
        app = face(jobs=jobs)
        document = {
            "sources": [{"url": f"https://example.org/{n}.jpg"} for n in range(sources)],
            "variants": [{"name": "a", "width": 400}, {"name": "b", "width": 200}],
        }
        body = orjson.dumps(document)
        with spending() as spent:
            answer = await ask(
                app, "POST", "/api/batches", body, {"content-type": "application/json"}
            )
        assert answer.status == 202, answer
        batch_id, store = orjson.loads(answer.body)["id"], jobs._store
        with spending() as lined:
            while store.enqueue(batch_id, time()):
                continue
        await jobs.close()
    return {
        "kB of the request": len(body) / 1e3,
        "ms until it is answered": answer.seconds * 1e3,
        "core-ms of that": spent.core_s * 1e3,
        "core-ms until all are in line": lined.core_s * 1e3,
    }


async def _followed(most: int) -> Figures:
    """So many wait for one job, and one more comes."""
    with place() as folder:
        jobs = build_jobs(JobSettings(JobsConfig(dir=str(folder), max_streams=most)))
        job = (await jobs.submit(NewJob(_WANTED, _SMALL))).job
        streams = EventStreams(jobs)

        async def follow() -> None:
            async for _ in streams.follow(job, 0):
                continue

        followers = [asyncio.create_task(follow()) for _ in range(most)]
        await asyncio.sleep(1.0)
        began, spent = perf_counter(), process_time()
        await asyncio.sleep(_LIVE_S)
        share = (process_time() - spent) / (perf_counter() - began)
        refused = 0
        try:
            streams.follow(job, 0)
        except Overloaded:
            refused = 1
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        await jobs.close()
    return {"% of a core": share * 100.0, "refused of one more": refused}


async def _come_back(seconds: float) -> Figures:
    with place() as folder:
        jobs = build_jobs(JobSettings(JobsConfig(dir=str(folder), stream_s=seconds)))
        job = (await jobs.submit(NewJob(_WANTED, _SMALL))).job
        streams, comes = EventStreams(jobs), []
        for _ in range(50):
            with spending() as spent:
                try:
                    events = streams.follow(await jobs.get(job.id), 0)
                except JobUnknown:
                    raise AssertionError from None
                await anext(events)
                await anext(events)
            comes.append(spent.core_s)
            await events.aclose()  # type: ignore[attr-defined]
        await jobs.close()
    back_ms = median(comes) * 1e3
    return {
        "core-ms to come back": back_ms,
        "core-ms an hour of a stream for that": back_ms * 3600.0 / seconds,
    }


CASES = (
    Case("jobs.dir", ("~/.local/state/omnishot", "/dev/shm/omnishot"),
         "100 jobs one after the other", _kept_under),
    Case("jobs.redis_url", ("", REDIS), "100 jobs one after the other", _kept_in),
    Case("jobs.blobs_uri", ("", f"file://{FOLDER}"), "pictures of 100 kB", _blobs),
    Case("jobs.chunk_ms", (2000.0, 500.0, 10_000.0), "a photo of 12.7 MP to 16 WebP", _chunked),
    Case("jobs.max_waiting", (100_000, 1_000, 10_000), "as many wait, of 20 users", _waiting),
    Case("jobs.timeout_s", (1.0, 10.0, 30.0), "an engine that hangs", _timed_out, True),
    Case("jobs.max_timeout_s", (3600.0, 600.0, 86_400.0), "`POST /api/jobs` with `timeout_s`",
         _longest),
    Case("jobs.max_attempts", (3, 1, 10), "30 jobs that fail at once",
         lambda most: _given_up(max_attempts=most)),
    Case("jobs.backoff_s", (2.0, 0.5, 30.0), "30 jobs that fail at once",
         lambda seconds: _given_up(backoff_s=seconds)),
    Case("jobs.lease_s", (15.0, 5.0, 60.0), "a runner that dies", _leased),
    Case("jobs.max_stalls", (10, 1, 100), "a job whose runner dies every time", _stalled),
    Case("jobs.ageing_s", (10.0, 1.0, 60.0), "an urgent job comes and one is done every second",
         _aged),
    Case("jobs.poll_s", (0.25, 0.05, 1.0), "an idle runner", _polled),
    Case("jobs.keep_s", (7 * _DAY_S, _DAY_S, 30 * _DAY_S), "jobs that have ended", _remembered),
    Case("jobs.key_life_s", (_DAY_S, _HOUR_S, 7 * _DAY_S), "`Idempotency-Key`", _keyed),
    Case("jobs.max_batch", (1000, 100, 5000), "`POST /api/batches` of so many addresses",
         _batched),
    Case("jobs.max_streams", (256, 64, 1024), "so many follow a job that waits", _followed),
    Case("jobs.stream_s", (600.0, 60.0, 3600.0), "who follows a job comes back", _come_back),
)  # fmt: skip
