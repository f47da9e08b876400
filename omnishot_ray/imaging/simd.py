"""What instruction set the compiled pixel core was built for."""

from pathlib import Path


def compiled_level() -> str:
    """`AVX2`, `SSE4`, or `unknown`.

    pillow-simd does not say how it was built. Built with `-mavx2` the compiler emits 256-bit
    instructions all over the resampling code, so their three-byte VEX prefix with a 256-bit
    `vpmaddwd` is there many times; in an SSE4 build it is absent (runs on x86-64 only).
    """
    from PIL import Image  # noqa: PLC0415 - the doctor reports when it cannot be imported

    core = Path(str(Image.core.__file__)).read_bytes()  # type: ignore[attr-defined]
    if not core.startswith(b"\x7fELF"):
        return "unknown"
    return "AVX2" if _count_vpmaddwd_ymm(core) > 20 else "SSE4"


def _count_vpmaddwd_ymm(code: bytes) -> int:
    """VEX.256.66.0F F5: `C5 xx F5` with L=1 and pp=01 in the second byte (Intel SDM vol. 2)."""
    count, at = 0, code.find(b"\xc5")
    while 0 <= at < len(code) - 2:
        if code[at + 2] == 0xF5 and code[at + 1] & 0x07 == 0x05:
            count += 1
        at = code.find(b"\xc5", at + 1)
    return count
