"""Downloads: what comes, what is too much, too slow or broken, and hosts that rest."""

import asyncio
import datetime
import gzip
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from omnishot_ray.errors import (
    OmnishotError,
    Overloaded,
    SourceTooLarge,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamResting,
    UpstreamTimeout,
)
from omnishot_ray.storage.fetch import FetchConfig, Fetched, Fetcher
from tests.web import PUBLIC, Handler, Web, always, by_path, response

pytestmark = pytest.mark.anyio

URL = "http://public.example/picture"
LIMIT = 10_000
SOON_S = 0.3
"""For what has to time out; everything else gets as long as a loaded machine needs."""
DEADLINE_S = 20.0


@asynccontextmanager
async def fetching(handler: Handler, **config: object) -> AsyncIterator[tuple[Fetcher, Web]]:
    web = Web()
    web.name("public.example")
    web.name("other.example", ("1.1.1.1",))
    given: dict[str, object] = {"max_bytes": LIMIT, "timeout_s": DEADLINE_S, **config}
    async with web.serving(handler):
        fetcher = Fetcher(FetchConfig(**given), web.resolve, web.open_socket)  # type: ignore[arg-type]
        try:
            async with asyncio.timeout(2 * DEADLINE_S):
                yield fetcher, web
        finally:
            await fetcher.close()


async def fetch(handler: Handler, url: str = URL, **config: object) -> Fetched:
    async with fetching(handler, **config) as (fetcher, _):
        return await fetcher.fetch(url)


def writes(*parts: bytes, pause_s: float = 0.0, ends: bool = True) -> Handler:
    """An answer in parts, with pauses, after which the connection ends or stays silent."""

    async def handler(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_s)
        if not ends:
            await reader.read()
        writer.close()

    return handler


async def test_gives_bytes_type_and_address() -> None:
    found = await fetch(always(response(b"pixels", Content_Type="image/png")))
    assert found == Fetched(b"pixels", "image/png", URL)


async def test_asks_plainly() -> None:
    async with fetching(always(response(b"pixels"))) as (fetcher, web):
        await fetcher.fetch("http://public.example/a%2Fb?sig=a%2Bb%3D#part")
    head = web.requests[0].decode()
    assert head.startswith("GET /a%2Fb?sig=a%2Bb%3D HTTP/1.1\r\nHost: public.example\r\n")
    assert "\r\nAccept-Encoding: identity\r\n" in head
    assert "\r\nUser-Agent: OmniShot-Ray/" in head
    assert "Cookie" not in head
    assert "Referer" not in head


async def test_remembers_no_cookies() -> None:
    async with fetching(always(response(b"pixels", Set_Cookie="a=b"))) as (fetcher, web):
        await fetcher.fetch(URL)
        await fetcher.fetch(URL)
    assert not any(b"a=b" in head for head in web.requests)


async def test_follows_redirects() -> None:
    handler = by_path(
        one=response(b"", "301 Moved Permanently", Location="/two"),
        two=response(b"", "302 Found", Location="http://other.example/three"),
        three=response(b"", "308 Permanent Redirect", Location="picture?a=b"),
        picture=response(b"pixels"),
    )
    async with fetching(handler) as (fetcher, web):
        found = await fetcher.fetch("http://public.example/one")
    assert found.url == "http://other.example/picture?a=b"
    assert web.dialled == [(PUBLIC, 80), ("1.1.1.1", 80)]


async def test_follows_three_redirects_and_no_more() -> None:
    hop = response(b"", "302 Found", Location="/picture")
    async with fetching(always(hop)) as (fetcher, web):
        with pytest.raises(UpstreamRefused, match="More than 3 redirects"):
            await fetcher.fetch(URL)
    assert len(web.requests) == 4


@pytest.mark.parametrize("location", ["", "http://", "http:///x", "http://a b/", "http://[/"])
async def test_a_redirect_to_nowhere_is_refused(location: str) -> None:
    with pytest.raises(UpstreamRefused):
        await fetch(always(response(b"", "302 Found", Location=location)))


@pytest.mark.parametrize("status", ["204 No Content", "206 Partial Content", "304 Not Modified"])
async def test_only_200_is_a_picture(status: str) -> None:
    with pytest.raises(UpstreamRefused, match=f"public.example answered {status[:3]}"):
        await fetch(always(response(b"", status)))


@pytest.mark.parametrize("status", ["400 Bad Request", "401 No", "403 No", "404 No", "410 Gone"])
async def test_a_refusal_is_not_worth_a_retry(status: str) -> None:
    with pytest.raises(UpstreamRefused) as told:
        await fetch(always(response(b"no", status)))
    assert not told.value.retryable


@pytest.mark.parametrize("status", ["500 No", "502 No", "503 No", "408 No", "425 No", "429 No"])
async def test_a_failure_is_worth_a_retry(status: str) -> None:
    with pytest.raises(UpstreamFailed, match=f"answered {status[:3]}") as told:
        await fetch(always(response(b"no", status)))
    assert told.value.retryable


async def test_exactly_the_limit_is_fetched() -> None:
    assert len((await fetch(always(response(bytes(LIMIT))))).data) == LIMIT


async def test_more_than_the_limit_is_refused_before_it_comes() -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {LIMIT + 1}\r\n\r\n".encode()
    with pytest.raises(SourceTooLarge, match="more than 10000 bytes"):
        await fetch(writes(head, ends=False))


async def test_more_than_the_limit_is_refused_while_it_comes() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"1000\r\n" + bytes(4096) + b"\r\n"
    with pytest.raises(SourceTooLarge):
        await fetch(writes(head, chunk, chunk, chunk, ends=False))


async def test_without_a_length_the_end_is_the_end() -> None:
    assert (await fetch(writes(b"HTTP/1.0 200 OK\r\n\r\n", b"pix", b"els"))).data == b"pixels"


async def test_nothing_is_no_picture() -> None:
    with pytest.raises(UpstreamRefused, match="empty"):
        await fetch(always(response(b"")))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
async def test_compressed_answers_are_not_decoded(encoding: str) -> None:
    bomb = gzip.compress(bytes(1000 * LIMIT), 1)[:LIMIT]
    with pytest.raises(UpstreamRefused, match="compressed"):
        await fetch(always(response(bomb, Content_Encoding=encoding)))


@pytest.mark.parametrize(
    "handler",
    [
        writes(ends=False),
        writes(b"HTTP/1.1 200 OK\r\n", ends=False),
        writes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", ends=False),
        writes(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", *[b"x"] * 200, pause_s=0.05),
        writes(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 200, pause_s=0.05),
        writes(b"HTTP/1.1 200 OK\r\n", *[b"X-A: b\r\n"] * 60, pause_s=0.05),
        writes(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            *[b"1\r\nx\r\n"] * 200,
            pause_s=0.05,
        ),
    ],
    ids=["silence", "headers", "body", "drip", "continue", "drip of headers", "drip of chunks"],
)
async def test_slowness_ends(handler: Handler) -> None:
    started = monotonic()
    with pytest.raises(UpstreamTimeout, match=r"public\.example .* within 0\.3 s"):
        await fetch(handler, timeout_s=SOON_S)
    assert monotonic() - started < DEADLINE_S


async def test_redirects_share_one_time_limit() -> None:
    hop = response(b"", "302 Found", Location="/picture")
    with pytest.raises(UpstreamTimeout):
        await fetch(writes(b"", hop, pause_s=0.25), timeout_s=0.6)


async def test_a_slow_name_ends() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    fetcher = Fetcher(FetchConfig(timeout_s=SOON_S), never)
    with pytest.raises(UpstreamTimeout):
        await fetcher.fetch(URL)
    await fetcher.close()


GARBAGE = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.9\r\n",
    "HTTP/0.9": b"<html>hello</html>\r\n\r\n",
    "no status": b"HTTP/1.1\r\n\r\n",
    "odd status": b"HTTP/1.1 2x0 OK\r\n\r\n",
    "large status": b"HTTP/1.1 99999 OK\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc",
    "wordy length": b"HTTP/1.1 200 OK\r\nContent-Length: three\r\n\r\nabc",
    "huge length": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\nabc",
    "too short": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    "chunk without end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    "huge chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"ffffffffffffffff\r\nabc\r\n",
    "unknown transfer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    "long line": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 20_000 + b"\r\n\r\nabc",
    "many lines": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\nabc",
    "no colon": b"HTTP/1.1 200 OK\r\nhello\r\n\r\nabc",
    "NUL": b"HTTP/1.1 200 OK\r\nX-A: \x00\r\n\r\nabc",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nabc",
    "odd charset": b"HTTP/1.1 200 OK\r\nContent-Type: \xff\xfe; charset=\xff\r\n"
    b"Content-Length: 0\r\n\r\n",
    "odd location": b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe/\r\n"
    b"Content-Length: 0\r\n\r\n",
    "odd encoding": b"HTTP/1.1 200 OK\r\nContent-Encoding: \xff\r\nContent-Length: 1\r\n\r\na",
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_a_named_failure(answer: bytes) -> None:
    with pytest.raises((UpstreamFailed, UpstreamRefused, SourceTooLarge)):
        await fetch(writes(answer))


async def test_nobody_there_is_a_failure() -> None:
    async with fetching(always(b"")) as (fetcher, _):
        with pytest.raises(UpstreamFailed, match=r"nosuch\.example could not be reached"):
            await fetcher.fetch("http://nosuch.example/")
        with pytest.raises(UpstreamFailed):  # nothing speaks TLS here
            await fetcher.fetch("https://public.example/")


async def test_a_failure_tells_no_address() -> None:
    async with fetching(always(b"")) as (fetcher, _):
        with pytest.raises(UpstreamFailed) as told:
            await fetcher.fetch("https://public.example/")
    assert PUBLIC not in told.value.detail


async def broken(fetcher: Fetcher, times: int, url: str = URL) -> None:
    for _ in range(times):
        with pytest.raises(UpstreamFailed):
            await fetcher.fetch(url)


async def test_a_host_that_fails_is_left_alone() -> None:
    handler = by_path(bad=response(b"", "500 No"), good=response(b"pixels"))
    async with fetching(handler, fail_max=3, rest_s=60) as (fetcher, web):
        await broken(fetcher, 3, "http://public.example/bad")
        before = len(web.requests)
        with pytest.raises(UpstreamResting, match="failed 3 times in a row") as told:
            await fetcher.fetch("http://public.example/good")
        assert len(web.requests) == before
        assert 55 <= told.value.retry_after_s <= 60
        assert (await fetcher.fetch("http://other.example/good")).data == b"pixels"
        health = fetcher.describe_services()["upstreams"]
    assert (health["circuit"], health["detail"]) == ("open", "left alone: public.example:80")


async def test_a_host_that_has_rested_is_tried_once() -> None:
    statuses = iter(["500 No"] * 3 + ["200 OK"])

    async def handler(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(response(b"pixels", next(statuses)))

    async with fetching(handler, fail_max=2, rest_s=0.01) as (fetcher, _):
        await broken(fetcher, 2)
        await asyncio.sleep(0.02)
        await broken(fetcher, 1)
        await asyncio.sleep(0.02)
        assert (await fetcher.fetch(URL)).data == b"pixels"
        assert fetcher.describe_services()["upstreams"]["circuit"] == "closed"


@pytest.mark.parametrize("answer", [response(b"no", "404 No"), response(bytes(LIMIT + 1))])
async def test_refusals_do_not_make_a_host_rest(answer: bytes) -> None:
    async with fetching(always(answer), fail_max=1) as (fetcher, _):
        for _ in range(3):
            with pytest.raises((UpstreamRefused, SourceTooLarge)):
                await fetcher.fetch(URL)


async def test_slowness_makes_a_host_rest() -> None:
    async with fetching(writes(ends=False), fail_max=1, timeout_s=SOON_S) as (fetcher, _):
        with pytest.raises(UpstreamTimeout):
            await fetcher.fetch(URL)
        with pytest.raises(UpstreamResting):
            await fetcher.fetch(URL)


async def test_only_so_many_at_once() -> None:
    held, arrived, together, most = asyncio.Event(), asyncio.Event(), 0, 0

    async def handler(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal together, most
        together += 1
        most = max(most, together)
        if together == 2:
            arrived.set()
        await held.wait()
        together -= 1
        writer.write(response(b"pixels"))

    async with fetching(handler, max_at_once=2) as (fetcher, _):
        running = [asyncio.create_task(fetcher.fetch(URL)) for _ in range(5)]
        await arrived.wait()
        held.set()
        assert [one.data for one in await asyncio.gather(*running)] == [b"pixels"] * 5
    assert most == 2


async def test_all_places_are_used_however_many_they_are() -> None:
    most, arrived, together = 150, asyncio.Event(), 0

    async def handler(head: bytes, reader: object, writer: asyncio.StreamWriter) -> None:
        nonlocal together
        together += 1
        if together == most:
            arrived.set()
        await arrived.wait()
        writer.write(response(b"pixels"))

    async with fetching(handler, max_at_once=most) as (fetcher, _):
        found = await asyncio.gather(*(fetcher.fetch(URL) for _ in range(most)))
    assert [one.data for one in found] == [b"pixels"] * most


async def test_no_place_in_time_is_overload() -> None:
    async with fetching(writes(ends=False), max_at_once=1, timeout_s=2.0) as (fetcher, _):
        first = asyncio.create_task(fetcher.fetch(URL))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="1 downloads are under way"):
            await fetcher.fetch(URL)
        first.cancel()
        await asyncio.wait([first])


async def test_who_goes_away_leaves_nothing_behind() -> None:
    async with fetching(writes(ends=False), max_at_once=1) as (fetcher, web):
        for _ in range(3):
            task = asyncio.create_task(fetcher.fetch(URL))
            while not web.requests:
                await asyncio.sleep(0.001)
            web.requests.clear()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert fetcher.describe_services()["upstreams"]["circuit"] == "closed"


def certificate(name: str, folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server for `name`, and the file of its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "public.pem", folder / "private.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, public


async def test_tls_is_for_the_name_not_for_the_address(tmp_path: Path) -> None:
    tls, authority = certificate("public.example", tmp_path)
    seen: list[str | None] = []
    tls.sni_callback = lambda connection, name, context: seen.append(name)
    web = Web()
    web.name("public.example")
    web.name("other.example")
    config = FetchConfig(ca_file=str(authority), timeout_s=DEADLINE_S)
    async with web.serving(always(response(b"pixels")), tls):
        fetcher = Fetcher(config, web.resolve, web.open_socket)
        assert (await fetcher.fetch("https://public.example/")).data == b"pixels"
        with pytest.raises(UpstreamFailed):
            await fetcher.fetch("https://other.example/")
        await fetcher.close()
        stranger = Fetcher(FetchConfig(timeout_s=DEADLINE_S), web.resolve, web.open_socket)
        with pytest.raises(UpstreamFailed):
            await stranger.fetch("https://public.example/")
        await stranger.close()
    assert seen == ["public.example", "other.example", "public.example"]
    assert b"\r\nHost: public.example\r\n" in web.requests[0]


async def test_the_system_resolves_where_nobody_else_does() -> None:
    fetcher = Fetcher(FetchConfig())
    with pytest.raises(OmnishotError, match="localhost is not at a public address"):
        await fetcher.fetch("http://localhost/")
    await fetcher.close()
