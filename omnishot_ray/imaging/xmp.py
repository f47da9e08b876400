"""Author and copyright of a packet of XMP, where EXIF and IPTC name none."""

from xml.parsers import expat

_DC = "http://purl.org/dc/elements/1.1/"
_CREATOR, _RIGHTS = f"{_DC} creator", f"{_DC} rights"
_ITEM = "http://www.w3.org/1999/02/22-rdf-syntax-ns# li"
_LANGUAGE = "http://www.w3.org/XML/1998/namespace lang"
_MOST_BYTES = 1 << 18


def read_xmp_credits(packet: bytes) -> tuple[str, str]:
    """Authors, joined by semicolons, and copyright; empty what it does not say.

    Of a copyright in several languages the default counts, or the first. Nothing is said by a
    packet that is damaged, declares a document type, or has more than 256 KiB.
    Source: ISO 16684-1:2019 §7 (RDF) and §8.3 (`dc:creator`, `dc:rights`).
    """
    if len(packet) > _MOST_BYTES or (b"rights" not in packet and b"creator" not in packet):
        return "", ""
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.read
    parser.StartDoctypeDeclHandler = _refuse  # there entities would be declared
    try:
        parser.Parse(packet.rstrip(b"\0 "), True)
    except (expat.ExpatError, ValueError):
        return "", ""
    rights = reader.said[_RIGHTS]
    chosen = next((text for language, text in rights if language == "x-default"), None)
    return (
        "; ".join(text for _, text in reader.said[_CREATOR]),
        chosen or next((text for _, text in rights), ""),
    )


def _refuse(*_: object) -> None:
    raise ValueError("a packet of XMP declares no document type")


class _Reader:
    """What is said of the two properties, each text with its language."""

    def __init__(self) -> None:
        self.said: dict[str, list[tuple[str, str]]] = {_CREATOR: [], _RIGHTS: []}
        self._property = ""
        self._language = ""
        self._text: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        for short in self.said.keys() & attributes.keys():
            self._say(short, attributes[short])
        if name in self.said:
            self._property = name
        if self._property:
            self._language = attributes.get(_LANGUAGE, "")
            self._text = []

    def read(self, text: str) -> None:
        if self._property:
            self._text.append(text)

    def end(self, name: str) -> None:
        if self._property and name in (_ITEM, self._property):
            self._say(self._property, "".join(self._text))
            self._text = []
        if name == self._property:
            self._property = ""

    def _say(self, name: str, text: str) -> None:
        if text.strip():
            self.said[name].append((self._language, text.strip()))
