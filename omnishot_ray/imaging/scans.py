"""Whether a JPEG in many scans has all of them, told from their headers alone."""

import struct

from omnishot_ray.imaging.header import JPEG_FRAME_MARKERS, MOST_BLOCKS, NEXT_MARKER

_COEFFICIENTS = 64


def lacks_scans(jpeg: bytes) -> bool:
    """Whether some coefficient of a component never comes, or not to its last bit.

    That is allowed (ITU-T T.81 §G.1.1.1.1) and hardly ever meant. Of a damaged file counts what can
    be read of it.
    """
    bits_missing: dict[int, list[int]] = {}
    at = 2
    for _ in range(MOST_BLOCKS):
        found = NEXT_MARKER.search(jpeg, at)
        if found is None or found.end() + 2 >= len(jpeg):
            break
        marker, at = jpeg[found.end() - 1], found.end()
        if marker == _END:
            break
        if marker == _START_OF_SCAN:
            _note_scan(jpeg, at, bits_missing)
        elif marker in JPEG_FRAME_MARKERS:
            components = jpeg[at + 8 : at + 8 + 3 * jpeg[at + 7] : 3] if at + 7 < len(jpeg) else b""
            bits_missing = {component: [1] * _COEFFICIENTS for component in components}
        at += struct.unpack_from(">H", jpeg, at)[0]
    return any(any(bits) for bits in bits_missing.values())


_START_OF_SCAN, _END = 0xDA, 0xD9


def _note_scan(jpeg: bytes, at: int, bits_missing: dict[int, list[int]]) -> None:
    """What is still missing behind a scan: its components, band of coefficients and lowest bit."""
    count = jpeg[at + 2]
    band = jpeg[at + 3 + 2 * count : at + 6 + 2 * count]
    if len(band) < 3:
        return
    first, last = band[0], min(band[1], _COEFFICIENTS - 1)
    for component in jpeg[at + 3 : at + 3 + 2 * count : 2]:
        if component in bits_missing:
            bits_missing[component][first : last + 1] = [band[2] & 15] * (last + 1 - first)
