"""Measures our server and the Express + sharp backend it replaces, by turns, with the same load.

    python -m benchmarks.peers.compare                    both, five rounds, one table
    python -m benchmarks.peers.compare --rows 400 health  only rows whose name holds one of these
    python -m benchmarks.peers.compare --only-peer        the Express server alone

Exit code: 0 every target reached, 1 a target missed or a row invalid, 2 wrong usage, 3 something
is missing here.
"""

import argparse
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from benchmarks import machine
from benchmarks.peers import answers, images, report, rows, servers, wrk

# Slow rows run longer, so that the requests cut off at the end of a run weigh little.
LEAST_REQUESTS = 64
LONGEST_RUN_S = 60.0
LONGEST_SETTLE_S = 15.0


def main() -> int:
    options = parse_arguments()
    signal.signal(signal.SIGTERM, _terminate)
    if shutil.which("wrk") is None:
        print("wrk is not on the PATH (Debian: apt-get install wrk)", file=sys.stderr)
        return 3
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    document = header(options)
    try:
        photos = images.prepare(options.data)
        if not (
            planned := named(
                rows.catalogue(photos, rows.ASSUMED_PLATFORMS, options.connections), options.rows
            )
        ):
            print(f"no row's name holds {' or '.join(options.rows)}", file=sys.stderr)
            return 2
        say(f"rows: {', '.join(row.name for row in planned)}")
        results, versions = measure(options, photos)
    except (servers.ServerError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 3
    document["machine"] |= versions
    document["rows"] = [result.as_json() for result in results]
    print(report.table(results))
    for line in (*report.health_lines(results), *report.problem_lines(results), *document["notes"]):
        print(line)
    write(options, document, results)
    return 1 if any(result.verdict in ("fail", "invalid") for result in results) else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Compare our server with Express + sharp under the same load."
    )
    parser.add_argument(
        "--seconds", type=float, default=4, help="length of a measured run (default 4)"
    )
    parser.add_argument(
        "--warm-up", type=float, default=1, help="seconds of load before each run (default 1)"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="runs a row, of which the median counts (default 5)"
    )
    parser.add_argument("--connections", type=int, default=8, help="open connections (default 8)")
    parser.add_argument(
        "--cores", type=int, default=2, help="cores that all of it shares (default 2)"
    )
    parser.add_argument(
        "--rows", nargs="+", metavar="PART", help="only rows whose name holds one of these"
    )
    parser.add_argument(
        "--data", type=Path, default=images.DATA, help="folder of the original photographs"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--ours-url", help="a server of ours that already runs, instead of starting one"
    )
    which.add_argument(
        "--ours-command",
        default="omnishot serve --port {port}",
        help="starts our server (default: %(default)s)",
    )
    which.add_argument("--only-peer", action="store_true", help="measure the Express server alone")
    parser.add_argument(
        "--ready-timeout", type=float, default=120, help="seconds a server may take to be ready"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="write a Markdown page and its JSON"
    )
    options = parser.parse_args()
    counts = (options.rounds, options.connections, options.cores)
    if min(options.seconds, options.warm_up, *counts) < 1:
        parser.error("seconds and counts must be at least 1")
    return options


def measure(
    options: argparse.Namespace, photos: Mapping[str, images.Photo]
) -> tuple[list[report.Result], dict[str, str]]:
    """Every row's result, and the versions that the peer runs on.

    A row's rounds follow each other, peer and ours by turns and neither always first: the speed of
    a virtual machine drifts, and what is compared has to lie close together in time. Both servers
    stay up, but the processes of the one not measured stand still.
    """
    with ExitStack() as up:
        sides = {"peer": up.enter_context(servers.peer(options.ready_timeout))}
        versions = peer_versions(sides["peer"].url)
        sizes: tuple[rows.Platform, ...] = rows.ASSUMED_PLATFORMS
        if not options.only_peer:
            sides["ours"] = up.enter_context(our_server(options))
            sizes = platforms(sides["ours"].url)
        found = rows.catalogue(photos, sizes, options.connections)
        results = [report.Result(row) for row in named(found, options.rows)]
        for result in results:
            for number in range(options.rounds):
                order = sorted(sides, reverse=number % 2 == 0)
                for side in order:
                    say(f"{result.row.title}, round {number + 1}/{options.rounds}, {side}")
                    with ExitStack() as still:
                        for other, server in sides.items():
                            if other != side:
                                still.enter_context(server.paused())
                        measure_row(result, side, sides[side].url, options)
    for result in results:
        judge_pictures(result)
    return results, versions


def measure_row(result: report.Result, side: str, base: str, options: argparse.Namespace) -> None:
    """One run of one row on one server. What goes wrong is the row's problem; the rest goes on."""
    row = result.row
    part = result.ours if side == "ours" else result.peer
    url = base + (row.ours if side == "ours" else row.peer)
    jpeg = row.photo.path.read_bytes() if row.photo else None
    connections = row.connections or options.connections
    try:
        part.pictures = check(url, jpeg, row, side)
        warm = wrk.drive(url, jpeg, seconds=options.warm_up, connections=connections)
        settle(warm, connections)
        needed = LEAST_REQUESTS / max(warm.requests_per_second, 0.1)
        seconds = min(max(options.seconds, needed), LONGEST_RUN_S)
        load = wrk.drive(url, jpeg, seconds=seconds, connections=connections)
        settle(load, connections)
        check(url, jpeg, row, side)
    except (answers.WrongAnswerError, OSError, http.client.HTTPException) as error:
        part.add_problem(str(error))
        return
    except subprocess.CalledProcessError as error:
        part.add_problem(f"wrk ended with code {error.returncode}: {error.stderr.strip()}")
        return
    part.loads.append(load)
    if load.not_ok:
        part.add_problem(f"{load.not_ok} of {load.requests} answers were errors")
    if load.broken:
        part.add_problem(f"{load.broken} connections failed or timed out")
    speed = f"{load.requests_per_second:.1f} req/s"
    say(f"    {speed}, p50 {load.p50_ms:.2f} ms, p99 {load.p99_ms:.2f} ms")


def check(url: str, jpeg: bytes | None, row: rows.Row, side: str) -> list[answers.Picture]:
    """The pictures of one answer to a body never sent before. WrongAnswerError if not as asked."""
    answer = servers.ask(url, None if jpeg is None else wrk.unique(jpeg))
    if answer.status != 200:
        raise answers.WrongAnswerError(
            f"status {answer.status}: {answer.body[:300].decode(errors='replace')}"
        )
    if (cached := answer.headers.get("x-cache", "miss")) != "miss":
        raise answers.WrongAnswerError(f"answered without working: X-Cache was {cached}")
    return answers.read(answer.body, row.expected, side)


def settle(load: wrk.Load, connections: int) -> None:
    """Waits until the server has worked off what wrk left behind when it hung up."""
    time.sleep(min(0.2 + connections / max(load.requests_per_second, 0.1), LONGEST_SETTLE_S))


def judge_pictures(result: report.Result) -> None:
    """Marks a row whose two answers do not show the same picture."""
    if not (result.ours.pictures and result.peer.pictures):
        return
    result.difference = answers.difference(result.ours.pictures, result.peer.pictures)
    if result.difference > answers.MOST_DIFFERENCE:
        result.problems.append(
            f"the pictures differ by {result.difference:.1f} grey levels: another crop?"
        )


def our_server(options: argparse.Namespace) -> AbstractContextManager[servers.Server]:
    if options.ours_url:
        return running(options.ours_url.rstrip("/"))
    return servers.ours(options.ours_command, options.ready_timeout)


@contextmanager
def running(url: str) -> Iterator[servers.Server]:
    """A server that somebody else started and will end."""
    try:
        servers.ask(f"{url}/health", timeout_s=10)
    except (OSError, http.client.HTTPException) as error:
        raise servers.ServerError(f"nobody answers at {url}: {error}") from None
    yield servers.Server(url)


def platforms(url: str) -> tuple[rows.Platform, ...]:
    try:
        return rows.read_platforms(servers.ask(f"{url}/api/platforms").body)
    except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError) as error:
        raise servers.ServerError(f"the platforms' sizes cannot be read: {error}") from None


def peer_versions(url: str) -> dict[str, str]:
    told = json.loads(servers.ask(f"{url}/health").body)
    return {name: told[name] for name in ("node", "sharp", "vips")}


def named(found: Sequence[rows.Row], parts: Sequence[str] | None) -> list[rows.Row]:
    """The rows whose name holds one of `parts`; all without any."""
    return [row for row in found if not parts or any(part in row.name for part in parts)]


def header(options: argparse.Namespace) -> dict[str, Any]:
    """What a result says about itself before anything is measured."""
    cores = len(os.sched_getaffinity(0))
    notes = [report.NOTE.format(cores=cores)]
    notes += [report.NOTE_OURS_URL] if options.ours_url else []
    notes += [report.NOTE_ASSUMED] if options.only_peer else []
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": machine.commit(images.ROOT),
        "command": machine.command(),
        "machine": machine.describe() | {"wrk": wrk.version()},
        "settings": {
            "seconds a run": f"{options.seconds:g}, or longer up to {LEAST_REQUESTS} requests",
            "warm-up seconds": options.warm_up,
            "rounds": options.rounds,
            "connections": options.connections,
        },
        "notes": notes,
    }


def write(
    options: argparse.Namespace, document: dict[str, Any], results: Sequence[report.Result]
) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if options.json:
        options.json.write_text(text)
    if options.results:
        options.results.mkdir(parents=True, exist_ok=True)
        stem = f"express_sharp_{datetime.fromisoformat(document['date']):%Y%m%d_%H%M%S}"
        (options.results / f"{stem}.json").write_text(text)
        (options.results / f"{stem}.md").write_text(report.page(document, results))


def say(line: str) -> None:
    """Progress goes to stderr, so that the table alone can be kept."""
    print(line, file=sys.stderr, flush=True)


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    say("ended by SIGTERM; nothing is written")
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main())
