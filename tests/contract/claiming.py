"""One gateway's process for the tests of claims: serves identical requests, counts executions.

    python -m tests.contract.claiming FOLDER REQUESTS WORK_S [REDIS_URL]

Says `ready`, begins at a line on its standard input, and writes what all requests got.
"""

import asyncio
import os
import sys
from pathlib import Path

import orjson

from omnishot_ray.cache.config import CacheConfig
from omnishot_ray.cache.front import build_front
from omnishot_ray.imaging.pipeline import Rendition, Result
from tests.cached import TASK, key, result


def note(path: Path) -> None:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")


async def main(folder: Path, requests: int, work_s: float, redis_url: str = "") -> None:
    # With Redis every process is a node of its own.
    node = f"node-{os.getpid()}" if redis_url else "node"
    front = build_front(CacheConfig(node_dir=str(folder / node), redis_url=redis_url, timeout_s=5))

    async def execute() -> Result:
        note(folder / "started")
        await asyncio.sleep(work_s)
        return result(f"made by {os.getpid()}".encode())

    print("ready", flush=True)
    sys.stdin.readline()
    served = await asyncio.gather(*(front.serve(key(), TASK, execute) for _ in range(requests)))
    answers = []
    for one in served:
        assert isinstance(one.outcome, Result)
        (rendition,) = one.outcome.renditions
        assert isinstance(rendition, Rendition)
        answers.append([one.cache, rendition.data.decode()])
    print(orjson.dumps(answers).decode(), flush=True)
    await asyncio.to_thread(sys.stdin.readline)  # others may still come for what lies there
    await front.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:]))
