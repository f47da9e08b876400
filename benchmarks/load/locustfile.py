"""A small mixed load on a running service: `make serve` in one terminal, `make loadtest` here.

Every answer is checked for its size. Goes to 127.0.0.1 unless --host says otherwise.
"""

from pathlib import Path

from locust import FastHttpUser, between, task

DATA = Path(__file__).resolve().parents[2] / "tests" / "data"
SMALL = (DATA / "valid" / "photo_flower_480x360.jpg").read_bytes()
LARGE = (DATA / "photo_sharp_benchmark_2725x2225.jpg").read_bytes()
JPEG = {"Content-Type": "image/jpeg"}


class Visitor(FastHttpUser):
    """Mostly thumbnails, now and then a set of platforms."""

    host = "http://127.0.0.1:8000"
    wait_time = between(0.05, 0.2)

    @task(6)
    def thumbnail(self) -> None:
        """480 px to 120 px."""
        self._expect("/api/optimize?width=120&height=90", SMALL, "120x90;")

    @task(3)
    def instagram(self) -> None:
        """6 megapixels to one platform."""
        self._expect("/api/optimize?platform=instagram-post", LARGE, "1080x1080;")

    @task(1)
    def marketplaces(self) -> None:
        """All marketplaces from one decode."""
        path = "/api/variants?group=marketplace&effort=2"
        with self.client.post(path, SMALL, headers=JPEG, catch_response=True) as answer:
            made = [v["status"] for v in answer.json()["variants"]] if answer.ok else []
            if not made or set(made) != {"ok"}:
                answer.failure(f"{answer.status_code}: {made}")

    def _expect(self, path: str, body: bytes, size: str) -> None:
        with self.client.post(path, body, headers=JPEG, catch_response=True) as answer:
            result = (answer.headers or {}).get("X-OmniShot-Result", "")
            if answer.status_code != 200 or not result.startswith(size):
                answer.failure(f"{answer.status_code}: {result or 'no result'}")
