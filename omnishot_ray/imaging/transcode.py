"""Baseline JPEG to progressive without loss, and whether one is whole, by libjpeg-turbo itself.

The library is Debian's `libturbojpeg0`; no package on the Python index has its transform with the
progressive switch, and Pillow hears none of its warnings. Where it is missing the picture stays as
it is, and `omnishot doctor` says so.
"""

import ctypes
from functools import cache

_NO_OUTPUT, _PROGRESSIVE = 16, 32
"""`TJXOPT_NOOUTPUT` and `TJXOPT_PROGRESSIVE` of turbojpeg.h 2.1."""
_CUT_OFF = b"premature end of data segment"
"""`JWRN_HIT_MARKER` of jerror.h: the picture is not complete where the next marker stands."""


class _Region(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int) for name in "xywh")


class _Transform(ctypes.Structure):
    """`tjtransform` of turbojpeg.h 2.1; all zero but the options means: change nothing else."""

    _fields_ = (
        ("region", _Region),
        ("operation", ctypes.c_int),
        ("options", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("filter", ctypes.c_void_p),
    )


def is_available() -> bool:
    """Whether the library is here."""
    return _library() is not None


def make_progressive(jpeg: bytes) -> bytes:
    """The same coefficients in progressive scans, 5 to 6 % smaller; `jpeg` itself when it cannot.

    `jpeg` is a file of our own encoders, with dimensions that are within the limits.
    """
    progressive, _ = _transform(jpeg, _PROGRESSIVE)
    return progressive or jpeg


def is_cut_off(jpeg: bytes) -> bool:
    """Whether a scan of a JPEG ends before it has all of its blocks; never without the library.

    Takes as long as reading its coefficients, which is about half of decoding it. What is behind
    the end of the file counts as a marker, zeros at the end as nothing.
    """
    _, said = _transform(jpeg.rstrip(b"\0") + b"\xff\xd9", _NO_OUTPUT)
    return _CUT_OFF in said


def _transform(jpeg: bytes, options: int) -> tuple[bytes, bytes]:
    """What comes of it, empty where nothing does, and the first thing that is wrong with it."""
    library = _library()
    if library is None:
        return b"", b""
    handle = library.tjInitTransform()
    result, size = ctypes.c_void_p(), ctypes.c_ulong(0)
    transform = _Transform(options=options)
    try:
        status = library.tjTransform(
            handle,
            jpeg,
            len(jpeg),
            1,
            ctypes.byref(result),
            ctypes.byref(size),
            ctypes.byref(transform),
            0,
        )
        if status != 0:
            return b"", library.tjGetErrorStr2(handle) or b""
        return ctypes.string_at(result, size.value) if result.value else b"", b""
    finally:
        library.tjFree(result)
        library.tjDestroy(handle)


@cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libturbojpeg.so.0")
    except OSError:
        return None
    library.tjInitTransform.restype = ctypes.c_void_p
    library.tjTransform.argtypes = (
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_ulong,
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int,
    )
    library.tjGetErrorStr2.argtypes = (ctypes.c_void_p,)
    library.tjGetErrorStr2.restype = ctypes.c_char_p
    library.tjFree.argtypes = (ctypes.c_void_p,)
    library.tjDestroy.argtypes = (ctypes.c_void_p,)
    return library
