"""Nobody is asked who is not public, however the address is written, resolved or redirected to.

Behind every address of this Internet is a server that gives a picture to whoever asks, so only the
guard stands between a trick and its success.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from omnishot_ray.errors import (
    AddressRefused,
    InvalidParameters,
    OmnishotError,
    UpstreamFailed,
    UpstreamRefused,
)
from omnishot_ray.storage.fetch import FetchConfig, Fetcher
from tests.web import PUBLIC, PUBLIC_V6, Web, always, by_path, response

pytestmark = pytest.mark.anyio

SECRET = response(b"a picture from inside", Content_Type="image/png")

_ADDRESSES = """
    0.0.0.0  0.1.2.3  10.0.0.1  10.255.255.255  100.64.0.1  100.100.100.200  100.127.255.254
    127.0.0.1  127.255.255.254  168.63.129.16  169.254.169.254  169.254.170.2  172.16.0.1
    172.31.255.255  192.0.0.1  192.0.0.192  192.0.2.1  192.31.196.1  192.52.193.1  192.88.99.1
    192.168.0.1  192.168.255.255  192.175.48.1  198.18.0.1  198.19.255.255  198.51.100.1
    203.0.113.1  224.0.0.1  239.255.255.255  240.0.0.1  255.255.255.255  ::  ::1  0:0:0:0:0:0:0:1
    ::127.0.0.1  ::ffff:127.0.0.1  ::ffff:7f00:1  ::ffff:10.0.0.1  ::ffff:93.184.216.34
    ::ffff:0:127.0.0.1  64:ff9b::7f00:1  64:ff9b::169.254.169.254  64:ff9b:1::1  100::1  2001::1
    2001:0:53aa:64c:0:fffe:80ff:fffe  2001:2::1  2001:10::1  2001:20::1  2001:db8::1
    2002:7f00:1::  2002:a9fe:a9fe::1  2620:4f:8000::1  3fff::1  5f00::1  2606:4700::5efe:10.0.0.1
    2606:4700::200:5efe:10.0.0.1  fc00::1  fd00:ec2::254  fd20:ce::254  fe80::1  fec0::1  ff02::1
"""
ADDRESSES = _ADDRESSES.split()

_FORMS = """
    2130706433  3232235777  017700000001  0x7f000001  0x7F000001  0xA9FEA9FE  0x7f.0.0.1  0x7f.1
    0177.0.0.1  0177.0.0.01  0251.0376.0251.0376  127.1  127.0.1  10.1  0  0x0  00  0x  127.0.0.1.
    127.0.0.01  127.00.0.1  425.510.425.510  4294967296  127.0.0.1.0  1.2.3  １２７.０.０.１
    127。0。0。1  127．0．0．1  ①②⑦.0.0.1  ⓛocalhost  localhost  localhost.  LOCALHOST
    %31%32%37.0.0.1  127.0.0.1%00.public.example  localhost%00
"""
FORMS = _FORMS.split()

WHOLE = [
    "http://public.example@127.0.0.1/",
    "http://public.example:80@127.0.0.1/",
    "http://127.0.0.1@public.example/",
    "http://127.0.0.1:80@public.example/",
    "http://user:word@public.example/",
    "http://@127.0.0.1/",
    "http://127.0.0.1#@public.example/",
    "http://127.0.0.1?@public.example/",
    "http://127.0.0.1\\@public.example/",
    "http://public.example\\@127.0.0.1/",
    "http:\\\\127.0.0.1\\",
    "http://127.0.0.1\t/",
    "http://127.0.0.1\r\nHost: public.example/",
    "http://127.0.0.1 /",
    "http://127.0.0.1 @public.example/",
    "http://loca\nlhost/",
    "http://localhost\x00.public.example/",
    "http://1.1.1.1 &@127.0.0.1# @3.3.3.3/",
    "http://foo@127.0.0.1:80@public.example/",
    "http://[::1/",
    "http://::1/",
    "http://[::1%25lo]/",
    "http://[fe80::1%25eth0]/",
    f"http://[{PUBLIC_V6}%25eth0]/",
    "http://[127.0.0.1]/",
    "http://[v1.127.0.0.1]/",
    "http://[]/",
    "http:///127.0.0.1/",
    "http:127.0.0.1",
    "//127.0.0.1/",
    "127.0.0.1",
    "",
    "http://",
    "http://./",
    "http://../",
    "http://-oProxyCommand=x/",
    "http://" + "a" * 64 + ".example/",
    "http://" + "a." * 130 + "example/",
    "http://public.example/" + "a" * 5000,
    "http://public.example:22/",
    "http://public.example:0/",
    "http://public.example:6379/",
    "http://public.example:65536/",
    "http://public.example:-80/",
    "http://public.example:8080/",
    f"http://{PUBLIC}:9200/",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "ftp://public.example/",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "dict://127.0.0.1:11211/stat",
    "data:image/png;base64,AAAA",
    "ws://public.example/",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "javascript:alert(1)",
    "jar:http://127.0.0.1!/",
    "url:http://127.0.0.1/",
    "http://\udc80.example/",
]

ANSWERS: dict[str, list[tuple[str, ...]]] = {
    "loopback": [("127.0.0.1",)],
    "metadata": [("169.254.169.254",)],
    "loopback in IPv6": [("::1",)],
    "mapped": [("::ffff:127.0.0.1",)],
    "NAT64": [("64:ff9b::7f00:1",)],
    "public, then private": [(PUBLIC, "10.0.0.1")],
    "private, then public": [("10.0.0.1", PUBLIC)],
    "public in IPv4, loopback in IPv6": [(PUBLIC, "::1")],
    "public in IPv6, private in IPv4": [(PUBLIC_V6, "192.168.1.1")],
    "with a zone": [("fe80::1%eth0",)],
    "no address": [("localhost",)],
    "nothing": [()],
}


URLS = [
    *(f"http://[{one}]/" if ":" in one else f"http://{one}/" for one in ADDRESSES),
    *(f"http://{form}/" for form in FORMS),
    *WHOLE,
]


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    web = Web()
    web.name("public.example")
    web.name("localhost", ("127.0.0.1", "::1"))
    async with web.serving(always(SECRET)):
        yield web


def fetcher_in(web: Web, **config: object) -> Fetcher:
    return Fetcher(FetchConfig(**config), web.resolve, web.open_socket)  # type: ignore[arg-type]


async def fetch(web: Web, url: str, **config: object) -> bytes:
    fetcher = fetcher_in(web, **config)
    try:
        async with asyncio.timeout(20):
            return (await fetcher.fetch(url)).data
    finally:
        await fetcher.close()


def test_the_table_is_long() -> None:
    assert len(set(URLS)) >= 150


@pytest.mark.parametrize("url", URLS, ids=ascii)
async def test_no_address_gets_through(web: Web, url: str) -> None:
    with pytest.raises((AddressRefused, InvalidParameters)) as refused:
        await fetch(web, url)
    assert web.dialled == []
    assert refused.value.fields[0].name == "url"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS)
async def test_no_name_gets_through(web: Web, scheme: str, answers: list[tuple[str, ...]]) -> None:
    name = web.name("trick.example", *answers)
    with pytest.raises((AddressRefused, UpstreamFailed)) as refused:
        await fetch(web, f"{scheme}://{name}/")
    assert web.dialled == []
    if answers[0]:
        assert isinstance(refused.value, AddressRefused)
        assert refused.value.detail == (
            "This address is not allowed: trick.example is not at a public address."
        )


@pytest.mark.parametrize("address", ADDRESSES)
async def test_no_address_gets_through_under_a_name(web: Web, address: str) -> None:
    with pytest.raises(AddressRefused):
        await fetch(web, f"http://{web.name('trick.example', (address,))}/")
    assert web.dialled == []


@pytest.mark.parametrize(
    "url", [one for one in URLS if not set(one) & set("\r\n\0\udc80")], ids=ascii
)
async def test_no_redirect_gets_through(url: str) -> None:
    web = Web()
    web.name("public.example")
    web.name("localhost", ("127.0.0.1",))
    location = url.encode("utf-8").decode("latin-1")
    redirect = response(b"", "302 Found", Location=location)
    async with web.serving(by_path(start=redirect)):
        with pytest.raises(OmnishotError):
            await fetch(web, "http://public.example/start")
    assert set(web.dialled) == {(PUBLIC, 80)}


async def test_a_redirect_to_a_private_name_is_refused() -> None:
    web = Web()
    web.name("public.example")
    web.name("inside.example", ("10.0.0.1",))
    redirect = response(b"", "307 Temporary Redirect", Location="http://inside.example/")
    async with web.serving(by_path(start=redirect)):
        with pytest.raises(AddressRefused):
            await fetch(web, "http://public.example/start")
    assert web.dialled == [(PUBLIC, 80)]


async def test_what_is_checked_is_what_is_connected(web: Web) -> None:
    """The name is looked up once, so there is no second answer that could differ."""
    name = web.name("rebinding.example", (PUBLIC,), ("127.0.0.1",))
    assert await fetch(web, f"http://{name}/") == b"a picture from inside"
    assert web.asked == [name]
    assert web.dialled == [(PUBLIC, 80)]


async def test_an_answer_that_changes_is_judged_anew() -> None:
    web = Web()
    name = web.name("rebinding.example", (PUBLIC,), ("127.0.0.1",))
    closing = response(b"one", Connection="close")
    async with web.serving(always(closing)):
        fetcher = fetcher_in(web)
        assert (await fetcher.fetch(f"http://{name}/")).data == b"one"
        with pytest.raises(AddressRefused):
            await fetcher.fetch(f"http://{name}/")
        await fetcher.close()
    assert web.dialled == [(PUBLIC, 80)]


async def test_a_redirect_to_the_same_name_is_judged_anew() -> None:
    web = Web()
    name = web.name("rebinding.example", (PUBLIC,), ("127.0.0.1",))
    redirect = response(b"", "302 Found", Location="/two", Connection="close")
    async with web.serving(by_path(one=redirect, two=SECRET)):
        with pytest.raises(AddressRefused):
            await fetch(web, f"http://{name}/one")
    assert web.dialled == [(PUBLIC, 80)]


async def test_the_socket_is_the_last_to_be_asked(web: Web) -> None:
    """Even answers that differ from one look to the next end at the address that is dialled."""

    class Shifty(tuple[str, ...]):
        looks = 0

        def __iter__(self) -> Iterator[str]:
            Shifty.looks += 1
            return iter((PUBLIC,) if Shifty.looks == 1 else ("127.0.0.1",))

    name = web.name("shifty.example", Shifty((PUBLIC,)))
    with pytest.raises(AddressRefused):
        await fetch(web, f"http://{name}/")
    assert Shifty.looks == 2
    assert web.dialled == []


@pytest.mark.parametrize(
    "url",
    [
        "http://public.example/",
        "http://PUBLIC.example/",
        "http://public.example./a?b=c#d",
        "http://public.example:80/",
        "http://public.example#@127.0.0.1:6379/",
        "http://bücher.example/",
        f"http://{PUBLIC}/",
        f"http://[{PUBLIC_V6}]/",
        "http://six.example/",
        "http://both.example/",
        "http://1.1.1.1/",
        "http://100.63.255.255/",
        "http://100.128.0.1/",
        "http://172.15.255.255/",
        "http://172.32.0.1/",
        "http://192.0.3.1/",
        "http://198.20.0.1/",
        "http://223.255.255.255/",
        "http://[2003::1]/",
        "http://[2400:cb00::1]/",
        "http://[2001:4860:4860::8888]/",
    ],
)
async def test_public_addresses_get_through(web: Web, url: str) -> None:
    web.name("xn--bcher-kva.example")
    web.name("six.example", (PUBLIC_V6,))
    web.name("both.example", (PUBLIC_V6, PUBLIC))
    assert await fetch(web, url) == b"a picture from inside"


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        ("inside.example", "http://inside.example/"),
        ("Inside.Example.", "http://inside.example./"),
        ("inside.example:8080", "http://inside.example:8080/"),
        ("10.0.0.1", "http://10.0.0.1/"),
        ("10.0.0.0/8", "http://inside.example/"),
        ("10.0.0.0/8:8080", "http://inside.example:8080/"),
        ("fd00::/8", "http://[fd00::5]/"),
        ("[fd00::/8]:8080", "http://[fd00::5]:8080/"),
    ],
)
async def test_the_allowlist_widens(web: Web, allow: str, url: str) -> None:
    web.name("inside.example", ("10.0.0.1",))
    with pytest.raises(AddressRefused):
        await fetch(web, url)
    assert await fetch(web, url, allow=("elsewhere.example", allow)) == b"a picture from inside"


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        ("inside.example", "http://inside.example:8080/"),
        ("inside.example:8080", "http://inside.example/"),
        ("inside.example", "http://deep.inside.example/"),
        ("inside.example", "http://outinside.example/"),
        ("10.0.0.0/8", "http://10.0.0.1:22/"),
        ("10.0.0.0/8", "http://mixed.example/"),
        ("10.0.0.0/8", "http://[::ffff:10.0.0.1]/"),
        ("10.0.0.0/8:8080", "http://inside.example/"),
        ("10.0.0.0/8:8080", "http://outside.example:8080/"),
    ],
)
async def test_the_allowlist_widens_no_more_than_it_says(web: Web, allow: str, url: str) -> None:
    web.name("inside.example", ("10.0.0.1",))
    web.name("deep.inside.example", ("10.0.0.1",))
    web.name("outinside.example", ("10.0.0.1",))
    web.name("mixed.example", ("10.0.0.1", "192.168.0.1"))
    web.name("outside.example")
    with pytest.raises(AddressRefused):
        await fetch(web, url, allow=(allow,))
    assert web.dialled == []


async def test_the_denylist_narrows(web: Web) -> None:
    assert await fetch(web, f"http://{PUBLIC}/", deny=("93.184.0.0/24",))
    for config in ({}, {"allow": (PUBLIC,)}):
        with pytest.raises(AddressRefused):
            await fetch(web, "http://public.example/", deny=("93.184.0.0/16",), **config)


@pytest.mark.parametrize(
    "entry",
    ["", "*", "http://host", "10.0.0.1/8", "host:0", "host:99999", "127.1", "a b", "host:", "[::1"],
)
def test_an_entry_that_cannot_be_meant_is_said_at_start(entry: str) -> None:
    with pytest.raises(ValueError, match=r"has to be|has a port"):
        FetchConfig(allow=(entry,))


def test_refusals_are_no_reason_to_retry() -> None:
    assert not any(cls.retryable for cls in (AddressRefused, InvalidParameters, UpstreamRefused))
