"""Load by wrk, every request with a body of its own.

Ours answers a picture that it has seen from its cache, and joins equal requests in flight; the
peer does neither. What is compared here is the work, so each request carries a JPEG comment that no
other request ever carried.
"""

import json
import secrets
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.images import with_comment

# Slow rows take seconds an answer; wrk's own limit of two would count them as failed.
TIMEOUT_S = 60
BODY_FILE = "body.jpg"
RESULT = "RESULT "
# run, thread and request number, as the script below writes them.
COMMENT_LENGTH = 12 + 4 + 8
PLACEHOLDER = b"@" * COMMENT_LENGTH

DONE_LUA = """
function done(summary, latency, requests)
  local errors = summary.errors
  local seen = {
    requests = summary.requests,
    duration_us = summary.duration,
    not_ok = errors.status,
    broken = errors.connect + errors.read + errors.write + errors.timeout,
    p50_us = latency:percentile(50),
    p99_us = latency:percentile(99),
  }
  local fields = {}
  for name, value in pairs(seen) do
    table.insert(fields, string.format('"%s": %d', name, value))
  end
  io.write("RESULT {" .. table.concat(fields, ", ") .. "}\\n")
end
"""

POST_LUA = """
local threads = 0
function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

local head, tail
local count = 0
function init(args)
  local file = assert(io.open("BODY_FILE", "rb"))
  local headers = {["Host"] = wrk.headers["Host"], ["Content-Type"] = "image/jpeg"}
  local whole = wrk.format("POST", nil, headers, file:read("*a"))
  file:close()
  local from, to = whole:find("PLACEHOLDER", 1, true)
  head, tail = whole:sub(1, from - 1), whole:sub(to + 1)
end

function request()
  count = count + 1
  return head .. string.format("RUN%04x%08x", number, count) .. tail
end
"""


@dataclass(frozen=True)
class Load:
    """What a run of wrk saw. `not_ok`: answers of status 400 and above; `broken`: socket errors."""

    requests: int
    seconds: float
    not_ok: int
    broken: int
    p50_ms: float
    p99_ms: float

    @property
    def requests_per_second(self) -> float:
        """Answers received within the run."""
        return self.requests / self.seconds


def unique(jpeg: bytes) -> bytes:
    """The picture as no server has seen it yet."""
    return with_comment(jpeg, secrets.token_hex(COMMENT_LENGTH // 2).encode())


def drive(
    url: str, jpeg: bytes | None, *, seconds: float, connections: int, same: bool = False
) -> Load:
    """GETs of `url`, or POSTs of `jpeg`, for `seconds`. CalledProcessError when wrk fails.

    With `same` all of the requests carry the very same body.
    """
    with tempfile.TemporaryDirectory(prefix="peers-wrk-") as folder:
        script = DONE_LUA
        if jpeg is not None:
            Path(folder, BODY_FILE).write_bytes(with_comment(jpeg, PLACEHOLDER))
            script += (
                POST_LUA.replace("BODY_FILE", BODY_FILE)
                .replace("PLACEHOLDER", PLACEHOLDER.decode())
                .replace("RUN", secrets.token_hex(6))
                .replace("number, count", "0, 0" if same else "number, count")
            )
        Path(folder, "load.lua").write_text(script)
        threads = min(2, connections)
        command = [
            "wrk",
            f"-t{threads}",
            f"-c{connections}",
            f"-d{max(1, round(seconds))}",
            "--latency",
        ]
        command += ["--timeout", f"{TIMEOUT_S}s", "-s", "load.lua", url]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    line = next(line for line in run.stdout.splitlines() if line.startswith(RESULT))
    seen = json.loads(line.removeprefix(RESULT))
    return Load(
        requests=seen["requests"],
        seconds=seen["duration_us"] / 1e6,
        not_ok=seen["not_ok"],
        broken=seen["broken"],
        p50_ms=seen["p50_us"] / 1e3,
        p99_ms=seen["p99_us"] / 1e3,
    )


def version() -> str:
    """What wrk calls itself; it exits with 1 when asked."""
    run = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    return run.stdout.split()[1]
