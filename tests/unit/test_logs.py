"""Lines of the log: their form, where they go, and what never gets into them."""

import io
import json
import logging
import os
import re
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from omnishot_ray.telemetry.collector import collect_lines
from omnishot_ray.telemetry.config import LogConfig, TraceConfig
from omnishot_ray.telemetry.context import work_for
from omnishot_ray.telemetry.discretion import Discretion
from omnishot_ray.telemetry.lines import JsonLines, TextLines
from omnishot_ray.telemetry.logs import LOGGER, Writer, configure_logs

logger = logging.getLogger("omnishot_ray.tests.logs")


@contextmanager
def written(path: Path, secrets=(), **config):
    """The lines that are written meanwhile into a file."""
    root = logging.getLogger(LOGGER)
    before = root.handlers[:], root.level, root.propagate, logging.raiseExceptions
    lines: list[str] = []
    configure_logs(LogConfig(file=str(path), **config), "gateway-1a2b", secrets)
    try:
        yield lines
    finally:
        lines += path.read_text().splitlines() if path.is_file() else []
        for handler in root.handlers[:]:
            if isinstance(handler, Writer):
                root.removeHandler(handler)
                handler.close()
        root.handlers[:], root.level, root.propagate, logging.raiseExceptions = before


def line_of(path: Path, *args, secrets=(), **kwargs) -> dict:
    with written(path, secrets) as lines:
        logger.warning(*args, **kwargs)
    (line,) = lines
    return json.loads(line)


def test_a_line_is_json_with_what_is_needed_to_find_it(tmp_path) -> None:
    with written(tmp_path / "log") as lines, work_for("request-7"):
        logger.warning("took %d of %s", 3, "four", extra={"took_ms": 1.5, "ids": ["a", "b"]})
    (line,) = map(json.loads, lines)
    at = line.pop("at")
    assert at.endswith("+00:00")
    assert line == {
        "level": "warning",
        "logger": logger.name,
        "process": "gateway-1a2b",
        "message": "took 3 of four",
        "request_id": "request-7",
        "took_ms": 1.5,
        "ids": ["a", "b"],
    }


def test_a_request_id_that_is_given_wins_and_outside_of_requests_there_is_none(tmp_path) -> None:
    with work_for("one"):
        assert line_of(tmp_path / "a", "x", extra={"request_id": "two"})["request_id"] == "two"
        of_many = line_of(tmp_path / "b", "x", extra={"request_ids": ["two", "three"]})
    assert of_many["request_ids"] == ["two", "three"]
    assert "request_id" not in of_many
    assert "request_id" not in line_of(tmp_path / "c", "x")


def test_text_is_one_readable_line(tmp_path) -> None:
    with written(tmp_path / "log", format="text") as lines:
        logger.warning("slow request", extra={"request_id": "r1", "took_ms": 1200.5})
    (line,) = lines
    clock, _, rest = line.partition(" ")
    assert len(clock) == len("12:34:56.789")
    assert rest == "WARNING gateway-1a2b tests.logs: slow request request_id=r1 took_ms=1200.5"


def test_an_exception_says_what_and_where_but_no_values(tmp_path) -> None:
    password = "hunter2hunter2"
    try:
        raise ValueError(f"password={password} was refused")
    except ValueError:
        line = line_of(tmp_path / "log", "failed", exc_info=True)
    assert line["error"] == "ValueError"
    assert line["error_message"] == "password=[hidden] was refused"
    (place,) = line["stack"]
    assert place.startswith("test_logs.py:")
    assert password not in json.dumps(line)


def test_levels_are_obeyed(tmp_path) -> None:
    with written(tmp_path / "log", level="error") as lines:
        logger.warning("no")
        logger.error("yes")
    assert [json.loads(line)["message"] for line in lines] == ["yes"]


JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000") * 40
KEY = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("said", "secret"),
    [
        (f"Authorization: Bearer {KEY}", KEY),
        (f"{{'authorization': 'Bearer {KEY}'}}", KEY),
        (f"headers [(b'x-api-key', b'{KEY}'), (b'host', b'a')]", KEY),
        (f"X-API-Key: {KEY}", KEY),
        (f"Cookie: session={KEY}; theme=dark", KEY),
        (f"api_key={KEY}&width=3", KEY),
        (f"GET /api/optimize?token={KEY}&width=200 failed", KEY),
        (f"GET /api/jobs/7?t=1&sig={KEY}", KEY),
        ("redis://user:pass-word@cache.example:6379/0 refused", "pass-word"),
        ("https://cdn.example/users/ann.smith/beach.jpg?X-Amz-Signature=abc", "ann.smith"),
        ("https://cdn.example/users/ann.smith/beach.jpg?X-Amz-Signature=abc", "Signature"),
        ("s3://bucket/private/ann/beach.jpg not found", "beach"),
        ("[Errno 2] No such file or directory: '/home/ann/my holiday.jpg'", "holiday"),
        ("cannot open /Users/zoe/beach.jpg: gone", "zoe"),
        ("cannot open ~/beach/one.jpg: gone", "beach"),
        (r"cannot open C:\Users\zoe\beach.jpg", "zoe"),
        ("of ann.smith@example.org", "ann.smith"),
        ("address:203.0.113.77 is over its rate limit", "113.77"),
        ("address:2001:db8:85a3:8d3:1319:8a2e:370:7348 is over", "370:7348"),
        (f"cannot read {JPEG!r}", "\\xd8"),
        (f"cannot read {JPEG!r}"[:900], "JFIF"),
        ("data " + "iVBORw0KGgoAAAANSUhEUgAA" * 30, "KGgoAAAANSUhEUgAAiVBORw0"),
    ],
)
def test_what_nobody_should_read_is_not_there(tmp_path, said: str, secret: str) -> None:
    """Wherever it comes from: the message, its arguments, beside it, or an exception."""
    try:
        raise OSError(said)
    except OSError as error:
        with written(tmp_path / "log") as lines:
            logger.warning(said.replace("%", "%%"))
            logger.warning("%s", said)
            logger.warning("beside", extra={"what": said, "many": [said]})
            logger.exception("raised")
            logger.warning("given: %s", error)
    assert len(lines) == 5
    assert secret not in "\n".join(lines)


def test_pictures_and_known_secrets_are_not_there(tmp_path) -> None:
    known = "a-key-with-no-form-at-all"
    line = line_of(
        tmp_path / "log",
        "%s of %s",
        JPEG,
        f"<{known}>",
        extra={"body": JPEG, "view": memoryview(JPEG), "error": {"key": known}},
        secrets=(known, known[:9]),
    )
    assert line["message"] == f"[{len(JPEG)} bytes] of <[hidden]>"
    assert line["body"] == line["view"] == f"[{len(JPEG)} bytes]"
    assert known not in json.dumps(line)


@pytest.mark.parametrize(
    "said",
    [
        "POST /api/optimize took 3/4 of 1.5 s",
        "type /problems/corrupt-image",
        "width: 0 is not 1 to 8192; did you mean width?",
        "redis is not asked for 5 s: ConnectionError",
        "redis at redis://127.0.0.1:6379 is used again",
        "ratio 1/2, 12:34:56, version 12.1.1, a?b, 100 %",
        "request 0f8fad5bd9cb469fa16570867728950e",
    ],
)
def test_what_people_need_stays(said: str) -> None:
    assert Discretion().conceal(said) == said


@pytest.mark.timeout(20)
def test_a_message_of_any_length_costs_little_and_stays_short() -> None:
    """The rules look at the beginning only: text that a caller chose must not stop a gateway."""
    began = time.process_time()
    for text in ("a" * 10**7, "/" * 10**6, "b'" + "\\" * 10**6, "a://" * 10**6, "1.2.3." * 10**6):
        assert len(Discretion().conceal(text)) <= 2001
    assert time.process_time() - began < 5.0


def test_a_message_that_cannot_be_formatted_harms_nobody(tmp_path) -> None:
    class Rude:
        def __str__(self) -> str:
            raise RuntimeError("no")

    with written(tmp_path / "log") as lines:
        logger.warning("%d apples", "three")
        logger.warning("%s", Rude())
        logger.warning("fine")
    assert [json.loads(line)["message"] for line in lines][-1] == "fine"
    assert len(lines) == 3


def test_a_file_that_cannot_be_opened_is_said_on_standard_error(tmp_path, capfd) -> None:
    with written(tmp_path / "no" / "such" / "folder" / "log"):
        logger.warning("still said")
    first, second = map(json.loads, capfd.readouterr().err.splitlines())
    assert "logs.file cannot be opened" in first["message"]
    assert second["message"] == "still said"


@pytest.mark.timeout(30)
def test_a_pipe_that_nobody_empties_stops_nobody(tmp_path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with written(path) as _:
        for _ in range(2000):
            logger.warning("x" * 500)  # a pipe holds 64 KiB
        while True:
            try:
                if not os.read(reader, 65536):
                    break
            except BlockingIOError:
                break
        logger.warning("again")
        lines = os.read(reader, 65536).decode().splitlines()
    os.close(reader)
    assert json.loads(lines[0])["message"].startswith("lines lost: ")
    assert int(json.loads(lines[0])["message"].rpartition(" ")[2]) > 1000
    assert json.loads(lines[1])["message"] == "again"


@pytest.mark.timeout(30)
def test_lines_of_other_processes_appear_on_the_terminal_of_the_command(tmp_path) -> None:
    terminal = os.open(tmp_path / "terminal", os.O_RDWR | os.O_CREAT)
    with collect_lines(terminal) as file:
        assert stat.S_ISFIFO(os.stat(file).st_mode)
        assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
        for number in range(3):
            with written(Path(file), format="text"):
                logger.warning("line %d", number)
    os.close(terminal)
    shown = (tmp_path / "terminal").read_text().splitlines()
    assert [line.rpartition(": ")[2] for line in shown] == ["line 0", "line 1", "line 2"]
    assert not Path(file).exists()


def test_formatters_are_those_of_the_standard_library() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    own = logging.Logger("own")
    own.addHandler(handler)
    for form in (JsonLines, TextLines):
        handler.setFormatter(form("p", Discretion()))
        own.error("said")
    assert stream.getvalue().count("said") == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"level": "loud"},
        {"format": "xml"},
        {"file": "log"},
        {"slow_ms": -1.0},
        {"sample": 1.5},
        {"lines_per_s": 0.0},
    ],
)
def test_wrong_log_settings_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LogConfig(**wrong)


@pytest.mark.parametrize("wrong", [{"exporter": "jaeger"}, {"exporter": ":x"}, {"sample": 2.0}])
def test_wrong_trace_settings_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TraceConfig(**wrong)


_COMMAND = """
import logging, subprocess, sys
from omnishot_ray.cli.serve import _terminal_logs
from omnishot_ray.settings import load_settings

worker = '''
import logging, sys
from omnishot_ray.telemetry.config import LogConfig
from omnishot_ray.telemetry.logs import configure_logs
configure_logs(LogConfig(format=sys.argv[1], file=sys.argv[2]), "gateway-1a2b")
logging.getLogger("omnishot_ray.api").warning("from a worker")
'''
with _terminal_logs(load_settings({}, {}), own=True) as settings:
    logs = settings.logs
    subprocess.run([sys.executable, "-c", worker, logs.format, logs.file], check=True)
"""


@pytest.mark.timeout(60)
def test_a_terminal_gets_text_and_anything_else_json(tmp_path) -> None:
    """As `omnishot serve` sets it up, with a process that has no terminal of its own."""
    command = [sys.executable, "-c", _COMMAND]
    ours, theirs = os.openpty()
    subprocess.run(command, stderr=theirs, timeout=50, check=True)
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    os.close(theirs)
    assert re.fullmatch(r"\S+ WARNING gateway-1a2b api: from a worker\r\n", shown)
    done = subprocess.run(command, stderr=subprocess.PIPE, timeout=50, check=True)
    assert json.loads(done.stderr)["message"] == "from a worker"
