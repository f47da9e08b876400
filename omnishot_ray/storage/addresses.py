"""Which network addresses are public, and so may be asked on behalf of somebody outside."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address

_NOT_PUBLIC_V4 = tuple(
    map(
        ip_network,
        (  # IANA IPv4 Special-Purpose Address Registry (RFC 6890), where not globally reachable
            "0.0.0.0/8",  # "this network", RFC 791
            "10.0.0.0/8",  # private, RFC 1918
            "100.64.0.0/10",  # carrier-grade NAT, RFC 6598; Alibaba's metadata
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local, RFC 3927; metadata of most clouds
            "172.16.0.0/12",  # private, RFC 1918
            "192.0.0.0/24",  # protocol assignments, RFC 6890; Oracle's metadata
            "192.0.2.0/24",  # documentation, RFC 5737
            "192.31.196.0/24",  # AS112, RFC 7535
            "192.52.193.0/24",  # AMT relays, RFC 7450
            "192.88.99.0/24",  # 6to4 relays, RFC 7526
            "192.168.0.0/16",  # private, RFC 1918
            "192.175.48.0/24",  # AS112, RFC 7534
            "198.18.0.0/15",  # benchmarks, RFC 2544
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast, RFC 5771
            "240.0.0.0/4",  # reserved, RFC 1112, with the broadcast address
            # Public by its number, but answers from inside of each of Azure's hosts: "What is IP
            # address 168.63.129.16?", learn.microsoft.com
            "168.63.129.16/32",
        ),
    )
)

_GLOBAL_UNICAST_V6 = ip_network("2000::/3")
"""All that IANA gives out (RFC 4291 §2.4, IPv6 Address Space registry). Outside are loopback,
IPv4-mapped and -compatible, NAT64 (64:ff9b::/96, RFC 6052), local NAT64 (RFC 8215), discard-only,
segment routing, unique local (with the metadata of AWS and Google), link- and site-local,
multicast."""

_NOT_PUBLIC_V6 = tuple(
    map(
        ip_network,
        (  # IANA IPv6 Special-Purpose Address Registry, within global unicast
            "2001::/23",  # protocol assignments, RFC 2928: Teredo, ORCHID, benchmarks
            "2001:db8::/32",  # documentation, RFC 3849
            "2002::/16",  # 6to4 carries an IPv4 address, RFC 3056
            "2620:4f:8000::/48",  # AS112, RFC 7534
            "3fff::/20",  # documentation, RFC 9637
        ),
    )
)

_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})
"""Upper half of an interface identifier that carries an IPv4 address, RFC 5214 §6.1."""


def read_address(text: str) -> Address | None:
    """An address in its one usual form; None for a name, a short, octal or hexadecimal form."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether a host anywhere on the Internet could have it."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    return (
        address.scope_id is None
        and address in _GLOBAL_UNICAST_V6
        and not any(address in network for network in _NOT_PUBLIC_V6)
        and int(address) >> 32 & 0xFFFF_FFFF not in _ISATAP
    )
