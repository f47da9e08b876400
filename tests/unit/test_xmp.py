"""Author and copyright out of XMP: what tools write, and what does no harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnishot_ray.imaging.xmp import read_xmp_credits

LIGHTROOM = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmp:CreatorTool="A tool">
 <dc:title><rdf:Alt><rdf:li xml:lang="x-default">A title</rdf:li></rdf:Alt></dc:title>
 <dc:creator><rdf:Seq><rdf:li>Ada</rdf:li><rdf:li>Jörg &amp; Co</rdf:li></rdf:Seq></dc:creator>
 <dc:rights><rdf:Alt><rdf:li xml:lang="de-DE">© Müller, alle Rechte</rdf:li>
 <rdf:li xml:lang="x-default">© Müller</rdf:li></rdf:Alt></dc:rights>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""
OTHER_PREFIX = """<a:RDF xmlns:a="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:b="http://purl.org/dc/elements/1.1/"><a:Description b:rights=" © Ada ">
 <b:creator>Ada</b:creator></a:Description></a:RDF>"""
NO_DC = LIGHTROOM.replace("http://purl.org/dc/elements/1.1/", "urn:another")
ONE_LANGUAGE = LIGHTROOM.replace('xml:lang="x-default">© M', 'xml:lang="en">© M')


@pytest.mark.parametrize(
    ("packet", "told"),
    [
        (LIGHTROOM, ("Ada; Jörg & Co", "© Müller")),
        (OTHER_PREFIX, ("Ada", "© Ada")),
        (ONE_LANGUAGE, ("Ada; Jörg & Co", "© Müller, alle Rechte")),
        (NO_DC, ("", "")),
        ("", ("", "")),
    ],
    ids=["lightroom", "other prefix", "no default language", "no dublin core", "nothing"],
)
def test_who_is_named(packet: str, told: tuple[str, str]) -> None:
    assert read_xmp_credits(packet.encode() + b" " * 2000) == told


@pytest.mark.parametrize(
    "packet",
    [
        LIGHTROOM[:-200],
        "<!DOCTYPE a [<!ENTITY b 'rights'>]>" + OTHER_PREFIX.replace(" © Ada ", "&b;"),
        LIGHTROOM + "x" * (1 << 18),
        "<rights>" * 30_000,
    ],
    ids=["cut", "entities", "large", "deep"],
)
def test_what_is_not_sound_says_nothing(packet: str) -> None:
    assert read_xmp_credits(packet.encode()) == ("", "")


@given(at=st.integers(0, len(LIGHTROOM)), by=st.binary(max_size=4))
def test_damage_does_no_harm(at: int, by: bytes) -> None:
    data = LIGHTROOM.encode()
    for text in read_xmp_credits(data[:at] + by + data[at + len(by) :]):
        assert len(text) < len(data)
