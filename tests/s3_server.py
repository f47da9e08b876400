"""An S3 of its own for tests (moto's server), that may be ended."""

import subprocess
import sys
import urllib.error
import urllib.request
from time import monotonic, sleep
from typing import Any

import boto3

START_S = 60.0
_MAIN = "import sys; from moto.server import main; main(sys.argv[1:])"


class S3Server:
    """Holds nothing on disk; its bucket is called `bucket`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _MAIN, "-H", "127.0.0.1", "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None, "moto's server ended"
            assert monotonic() < deadline, "moto's server does not answer"
            sleep(0.05)

    def uri(self, path: str = "", bucket: str = "bucket") -> str:
        return (
            f"s3://key:word@{bucket}/{path}"
            f"?endpoint_override=127.0.0.1:{self.port}&scheme=http&region=us-east-1"
        )

    def describe(self, key: str) -> Any:
        """What another client is told of an object."""
        client = boto3.client(
            "s3",
            endpoint_url=self._url,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="word",
        )
        try:
            return client.head_object(Bucket="bucket", Key=key)
        finally:
            client.close()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        request = urllib.request.Request(f"{self._url}/bucket", method="PUT")
        try:
            with urllib.request.urlopen(request, timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False
