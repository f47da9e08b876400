"""Who asks when there are proxies on the way."""

import pytest

from omnishot_ray.api.proxies import Proxies


def scope(peer: str | None, *forwarded: str, proto: str | None = None) -> dict[str, object]:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    if proto:
        headers.append((b"x-forwarded-proto", proto.encode()))
    return {"client": (peer, 1) if peer else None, "headers": headers, "scheme": "http"}


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", (), "192.0.2.1"),
        ("192.0.2.1", ("198.51.100.1",), "192.0.2.1"),  # not a proxy of ours
        ("10.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("127.0.0.1", ("198.51.100.1",), "198.51.100.1"),  # HAProxy
        ("10.0.0.1", ("203.0.113.9, 198.51.100.1",), "198.51.100.1"),  # the first is made up
        ("10.0.0.1", ("203.0.113.9", "198.51.100.1, 10.0.0.2"), "198.51.100.1"),
        ("10.0.0.1", ("198.51.100.1:4711",), "198.51.100.1"),
        ("10.0.0.1", ("[2001:db8:1:2:3::4]:80",), "2001:db8:1:2::/64"),
        ("10.0.0.1", ("2001:db8:1:2:ffff::1",), "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", (), "192.0.2.1"),
        ("10.0.0.1", ("unknown",), "10.0.0.1"),
        ("10.0.0.1", ("",), "10.0.0.1"),
        ("10.0.0.1", ("10.0.0.3, 10.0.0.2",), "10.0.0.3"),
        ("10.0.0.1", (", ".join(["198.51.100.1"] + ["10.0.0.2"] * 5000),), "10.0.0.2"),
        (None, ("198.51.100.1",), "unknown"),
        ("a socket", (), "unknown"),
    ],
)
def test_the_client_is_the_last_hop_that_is_not_trusted(
    peer: str | None, forwarded: tuple[str, ...], client: str
) -> None:
    assert Proxies(["10.0.0.0/8"]).client_of(scope(peer, *forwarded)) == client


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.0.0.1", "192.0.2.1"])
def test_nobody_is_trusted_unasked(peer: str) -> None:
    proxies = Proxies([])
    assert proxies.client_of(scope(peer, "198.51.100.1")) == peer
    assert not proxies.sees_https(scope(peer, proto="https"))
