"""The image formats that are accepted and written, told from the first bytes alone."""

from enum import StrEnum


class Format(StrEnum):
    """An image format; its value is the name used in options and answers."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    AVIF = "avif"
    GIF = "gif"
    TIFF = "tiff"
    BMP = "bmp"

    @property
    def mime(self) -> str:
        """The registered media type, e.g. `image/jpeg`."""
        return f"image/{self.value}"

    @property
    def extension(self) -> str:
        """The usual file extension without a dot."""
        return "jpg" if self is Format.JPEG else self.value

    @property
    def plugin(self) -> str:
        """The name of Pillow's plugin, for the allowlist of `Image.open` and for `save`."""
        return self.value.upper()


OUTPUT_FORMATS = (Format.JPEG, Format.WEBP, Format.AVIF, Format.PNG, Format.GIF)
"""What can be written; TIFF and BMP are read only."""

LOSSLESS = frozenset({Format.PNG, Format.WEBP})
"""Output formats that can keep every pixel as it is (the AVIF encoder at hand goes through YUV)."""

LOSSY = frozenset({Format.JPEG, Format.WEBP, Format.AVIF})
"""Output formats with a quality to choose."""

ANIMATED = frozenset({Format.WEBP, Format.GIF})
"""Output formats that are written with all frames."""

_AVIF_BRANDS = (b"avif", b"avis")


def sniff(data: bytes) -> Format | None:
    """Tell the format from the magic bytes at the start of `data`; None when it is not allowed.

    The name and the declared content type of a file are never asked: they are what an attacker
    chooses. Signatures: WHATWG MIME Sniffing §6.1, AVIF by the brands of ISO/IEC 14496-12 `ftyp`.
    """
    if data[:3] == b"\xff\xd8\xff":
        return Format.JPEG
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return Format.PNG
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Format.WEBP
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return Format.GIF
    if data[:4] in (b"II*\x00", b"MM\x00*"):
        return Format.TIFF
    if data[4:8] == b"ftyp" and _has_avif_brand(data):
        return Format.AVIF
    if data[:2] == b"BM" and len(data) > 14 and data[14:18] in _BMP_HEADER_SIZES:
        return Format.BMP
    return None


_BMP_HEADER_SIZES = frozenset(n.to_bytes(4, "little") for n in (12, 40, 52, 56, 64, 108, 124))


def _has_avif_brand(data: bytes) -> bool:
    end = min(int.from_bytes(data[:4], "big"), len(data), 256)
    return data[8:12] in _AVIF_BRANDS or any(
        data[at : at + 4] in _AVIF_BRANDS for at in range(16, end - 3, 4)
    )
