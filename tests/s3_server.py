"""A bucket of one's own: moto's server, which speaks S3."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from pyarrow import fs


@contextmanager
def bucket(name: str = "pictures") -> Iterator[str]:
    """Yields the query of its addresses: `s3://pictures/key?` and that."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    before = {key: os.environ.get(key) for key in keys}
    os.environ.update(keys)
    try:
        _wait(f"http://127.0.0.1:{port}/moto-api/", server)
        query = f"region=us-east-1&scheme=http&endpoint_override=127.0.0.1:{port}"
        store, _ = fs.FileSystem.from_uri(f"s3://{name}?{query}&allow_bucket_creation=true")
        store.create_dir(name)
        yield query
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
        server.kill()
        server.wait()


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, "moto's server ended"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("moto's server did not start within 60 s")
