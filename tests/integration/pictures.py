"""A web server that has the pictures of `tests/data`."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.integration.service import ROOT


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests look at what comes out."""


class PictureServer:
    """Listens on a free port of loopback; `url` is its address."""

    def __init__(self) -> None:
        files = partial(_Quiet, directory=str(ROOT / "tests" / "data"))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), files)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
