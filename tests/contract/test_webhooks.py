"""Messages to others: signed, tried again where that helps, and never to the inside."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from time import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from omnishot_ray.errors import AddressRefused, InvalidParameters
from omnishot_ray.jobs.webhooks import WebhookConfig, Webhooks, read_retry_after
from omnishot_ray.storage.fetch import FetchConfig
from tests.web import PUBLIC, Handler, Web, response

pytestmark = pytest.mark.anyio

URL = "http://public.example/hook?a=b"
SECRET, OTHER = "whsec_" + "A" * 32, "whsec_" + "B" * 32
PAYLOAD = {"id": "job-1", "status": "completed", "note": "größe"}
DEADLINE_S = 20.0


class Receiver:
    """Answers with one answer after the other, the last one for ever, and keeps what it got."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        self.messages: list[tuple[dict[str, str], bytes]] = []

    async def __call__(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        lines = head.decode().split("\r\n")[1:-2]
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.messages.append((headers, body))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        writer.write(answer)
        if not answer:
            writer.close()


def status(text: str, **headers: str) -> bytes:
    return response(b"", text, **headers)


@asynccontextmanager
async def sending(
    handler: Handler, **config: object
) -> AsyncIterator[tuple[Webhooks, Web, list[float]]]:
    """Webhooks on an Internet of one receiver, and the pauses that were made."""
    web, pauses = Web(), []
    web.name("public.example")
    web.name("inside.example", ("10.0.0.1",))

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    given: dict[str, object] = {"secrets": (SECRET,), "timeout_s": DEADLINE_S, **config}
    async with web.serving(handler):
        webhooks = Webhooks(
            WebhookConfig(**given),  # type: ignore[arg-type]
            FetchConfig(),
            web.resolve,
            web.open_socket,
            sleep,
        )
        try:
            async with asyncio.timeout(2 * DEADLINE_S):
                yield webhooks, web, pauses
        finally:
            await webhooks.close()


async def test_a_message_can_be_verified() -> None:
    receiver = Receiver(status("204 No Content"))
    async with sending(receiver) as (webhooks, web, pauses):
        made = await webhooks.deliver(URL, "job.completed", PAYLOAD, "msg_1")
    assert (made.delivered, made.status, made.detail, made.again_in_s) == (True, 204, "", None)
    ((headers, body),) = receiver.messages
    message = Webhook(SECRET).verify(body, headers)
    assert message["type"] == "job.completed"
    assert message["data"] == PAYLOAD
    assert abs(datetime.fromisoformat(message["timestamp"]).timestamp() - time()) < 60
    assert headers["webhook-id"] == "msg_1"
    assert headers["content-type"] == "application/json"
    assert headers["host"] == "public.example"
    assert web.requests[0].startswith(b"POST /hook?a=b HTTP/1.1\r\n")
    assert pauses == []


async def test_a_forged_message_cannot() -> None:
    receiver = Receiver(status("200 OK"))
    async with sending(receiver) as (webhooks, _, _):
        await webhooks.deliver(URL, "job.completed", PAYLOAD, "msg_1")
    ((headers, body),) = receiver.messages
    for secret, forged_headers, forged in (
        (OTHER, headers, body),
        (SECRET, headers, body.replace(b"completed", b"abandoned")),
        (SECRET, {**headers, "webhook-id": "msg_2"}, body),
        (SECRET, {**headers, "webhook-timestamp": str(int(time()) + 1)}, body),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(forged, forged_headers)


def test_the_scheme_is_the_published_one() -> None:
    """The example of github.com/standard-webhooks/standard-webhooks, libraries/python/tests."""
    signed = Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        '{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_every_secret_signs() -> None:
    receiver = Receiver(status("200 OK"))
    async with sending(receiver, secrets=(SECRET, OTHER)) as (webhooks, _, _):
        await webhooks.deliver(URL, "job.completed", PAYLOAD, "msg_1")
    ((headers, body),) = receiver.messages
    for secret in (SECRET, OTHER):
        Webhook(secret).verify(body, headers)


@pytest.mark.parametrize("answer", ["500 No", "503 No", "599 No", "408 No", "425 No", "429 No"])
async def test_what_may_pass_is_tried_again(answer: str) -> None:
    receiver = Receiver(status(answer), status(answer), status("200 OK"))
    async with sending(receiver) as (webhooks, _, pauses):
        made = await webhooks.deliver(URL, "job.completed", PAYLOAD, "msg_1")
    assert made.delivered
    assert len(pauses) == 2
    assert {headers["webhook-id"] for headers, _ in receiver.messages} == {"msg_1"}
    assert len({body for _, body in receiver.messages}) == 1
    for headers, body in receiver.messages:
        Webhook(SECRET).verify(body, headers)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0\r\n\r\n"], ids=["broken", "garbage"])
async def test_broken_connections_are_tried_again(answer: bytes) -> None:
    receiver = Receiver(answer, status("200 OK"))
    async with sending(receiver) as (webhooks, _, pauses):
        first = await webhooks.attempt(URL, "job.completed", PAYLOAD, "msg_1")
        assert (first.delivered, first.status, first.detail) == (False, None, "No connection.")
        assert first.again_in_s is not None
        assert (await webhooks.deliver(URL, "job.completed", PAYLOAD, "msg_1")).delivered
    assert pauses == []


async def test_slowness_is_tried_again() -> None:
    async def silence(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.read()

    async with sending(silence, timeout_s=0.2, max_attempts=2) as (webhooks, _, pauses):
        made = await webhooks.deliver(URL, "job.completed", PAYLOAD, "msg_1")
    assert (made.delivered, made.status, made.detail) == (False, None, "No answer within 0.2 s.")
    assert len(pauses) == 1


@pytest.mark.parametrize("answer", ["400 No", "401 No", "404 No", "410 Gone", "422 No"])
async def test_what_will_not_pass_is_not(answer: str) -> None:
    receiver = Receiver(status(answer))
    async with sending(receiver) as (webhooks, _, pauses):
        made = await webhooks.deliver(URL, "job.completed", PAYLOAD, "msg_1")
    assert (made.delivered, made.status, made.again_in_s) == (False, int(answer[:3]), None)
    assert made.detail == f"Answered {answer[:3]}; 2xx is wanted."
    assert (len(receiver.messages), pauses) == (1, [])


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(code: int) -> None:
    receiver = Receiver(status(f"{code} There", Location="http://public.example/elsewhere"))
    async with sending(receiver) as (webhooks, web, _):
        made = await webhooks.deliver(URL, "job.completed", PAYLOAD, "msg_1")
    assert (made.delivered, made.status, made.again_in_s) == (False, code, None)
    assert len(web.requests) == 1


async def test_at_last_it_is_given_up() -> None:
    receiver = Receiver(status("503 No"))
    async with sending(receiver, max_attempts=4) as (webhooks, _, pauses):
        made = await webhooks.deliver(URL, "job.completed", PAYLOAD, "msg_1")
    assert (made.delivered, made.status) == (False, 503)
    assert (len(receiver.messages), len(pauses)) == (4, 3)


async def test_pauses_grow_and_differ() -> None:
    receiver = Receiver(status("503 No"))
    async with sending(receiver, backoff_s=2.0, max_delay_s=20.0) as (webhooks, _, _):
        pauses = [
            [
                (await webhooks.attempt(URL, "x", {}, "msg_1", attempt)).again_in_s or 0.0
                for _ in range(30)
            ]
            for attempt in (1, 2, 3, 9)
        ]
    for highest, some in zip((2.0, 4.0, 8.0, 20.0), pauses, strict=True):
        assert 0 <= min(some) < highest / 3
        assert highest * 2 / 3 < max(some) <= highest
        assert len(set(some)) > 20


@pytest.mark.parametrize("answer", ["429 Slowly", "503 Later"])
async def test_the_receiver_says_when(answer: str) -> None:
    in_a_minute = format_datetime(datetime.fromtimestamp(time() + 60, UTC), usegmt=True)
    for wanted in ("60", in_a_minute):
        receiver = Receiver(status(answer, Retry_After=wanted))
        async with sending(receiver, backoff_s=1.0) as (webhooks, _, _):
            made = await webhooks.attempt(URL, "x", {}, "msg_1")
        assert made.again_in_s is not None
        assert 50 <= made.again_in_s <= 61


async def test_the_receiver_cannot_say_never() -> None:
    receiver = Receiver(status("503 Later", Retry_After="999999999"))
    async with sending(receiver, max_delay_s=100.0) as (webhooks, _, _):
        assert (await webhooks.attempt(URL, "x", {}, "msg_1")).again_in_s == 100.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("9" * 400, 0.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 99999 00:00:00 GMT", 0.0),
        ("²", 0.0),
    ],
)
def test_retry_after_is_read(text: str, seconds: float) -> None:
    assert read_retry_after(text, 10.0) == seconds


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://169.254.169.254/",
        "http://[::1]/",
        "http://inside.example/",
        "http://2130706433/",
        "http://me:word@public.example/",
        "http://public.example:6379/",
        "ftp://public.example/",
        "file:///etc/passwd",
        "no address",
        "",
    ],
)
async def test_nobody_inside_is_told(url: str) -> None:
    receiver = Receiver(status("200 OK"))
    async with sending(receiver) as (webhooks, web, pauses):
        made = await webhooks.deliver(url, "job.completed", PAYLOAD, "msg_1")
    assert (made.delivered, made.status, made.again_in_s) == (False, None, None)
    assert made.detail
    assert (web.dialled, pauses) == ([], [])


async def test_an_address_that_has_moved_inside_is_not_told() -> None:
    receiver = Receiver(status("503 No", Connection="close"))
    async with sending(receiver) as (webhooks, web, _):
        web.name("rebinding.example", (PUBLIC,), ("127.0.0.1",))
        made = await webhooks.deliver("http://rebinding.example/", "x", PAYLOAD, "msg_1")
    assert not made.delivered
    assert "not at a public address" in made.detail
    assert web.dialled == [(PUBLIC, 80)]


async def test_what_is_wrong_is_said_when_work_is_taken_on() -> None:
    receiver = Receiver(status("200 OK"))
    async with sending(receiver) as (webhooks, _, _):
        webhooks.check(URL)
        with pytest.raises(AddressRefused):
            webhooks.check("http://127.0.0.1/")
        with pytest.raises(InvalidParameters):
            webhooks.check("hook")
    async with sending(receiver, secrets=()) as (webhooks, web, _):
        with pytest.raises(AddressRefused, match="no secret"):
            webhooks.check(URL)
        assert not (await webhooks.deliver(URL, "x", {}, "msg_1")).delivered
    assert web.dialled == []


@pytest.mark.parametrize("message_id", ["", "a.b", "a b", "a\r\nb", "é", "a" * 129])
async def test_an_id_that_cannot_be_signed_is_a_mistake(message_id: str) -> None:
    async with sending(Receiver(status("200 OK"))) as (webhooks, _, _):
        with pytest.raises(ValueError, match="a message id has"):
            await webhooks.attempt(URL, "x", {}, message_id)


async def test_only_so_many_at_once() -> None:
    together = most = 0
    full = asyncio.Barrier(3)

    async def three(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal together, most
        together += 1
        most = max(most, together)
        await full.wait()
        together -= 1
        writer.write(status("200 OK", Connection="close"))
        writer.close()

    async with sending(three, max_at_once=3) as (webhooks, _, _):
        made = await asyncio.gather(
            *(webhooks.deliver(URL, "x", PAYLOAD, f"msg_{number}") for number in range(21))
        )
    assert all(one.delivered for one in made)
    assert most == 3


async def test_an_endless_answer_is_not_read() -> None:
    async def endless(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not reader.at_eof():
            writer.write(b"1000\r\n" + bytes(4096) + b"\r\n")
            await writer.drain()

    async with sending(endless) as (webhooks, _, _):
        assert (await webhooks.deliver(URL, "x", PAYLOAD, "msg_1")).delivered
