"""A Google Cloud Storage of its own for tests."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.service import answers, free_port, wait_for

_MAIN = "import sys; from gcp_storage_emulator.__main__ import main; sys.exit(main(sys.argv[1:]))"


@contextmanager
def google_storage(bucket: str) -> Iterator[str]:
    """Its host and port, with an empty bucket in it."""
    port = free_port()
    command = [sys.executable, "-c", _MAIN, "start", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--in-memory", "--default-bucket", bucket],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def is_there() -> bool:
        assert process.poll() is None, "the storage ended"
        return answers(f"http://127.0.0.1:{port}/storage/v1/b/{bucket}")

    try:
        wait_for(is_there, 30, "the storage's first answer")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
