"""Debian's Chromium, driven by Playwright, and an application on a real port for it to visit."""

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from starlette.types import ASGIApp

PATIENCE_MS = 20_000
"""How long a page may take to come to a state; the machine is shared."""


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A headless Chromium. Ends before the next module: its driver runs an event loop here."""
    program = shutil.which("chromium")
    assert program, "scripts/setup dev installs chromium"
    sandbox = ["--no-sandbox"] if os.getuid() == 0 else []  # Chromium's own does not start as root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=sandbox)
        yield browser
        browser.close()


class Visit:
    """One page of a visitor, and what its console complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} ({message.location['url']})")


@contextmanager
def visiting(browser: Browser, **settings: Any) -> Iterator[Visit]:
    """A visitor without a past; `settings` are those of a Playwright context."""
    context: BrowserContext = browser.new_context(**settings)
    context.set_default_timeout(PATIENCE_MS)
    try:
        yield Visit(context.new_page())
    finally:
        context.close()


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """The address of an application that is served by a thread of this process."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # who comes before the thread runs waits
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
        assert not thread.is_alive(), "the server does not end"
