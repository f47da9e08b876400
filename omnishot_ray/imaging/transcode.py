"""Baseline JPEG to progressive without loss, by libjpeg-turbo's own transcoder.

The library is Debian's `libturbojpeg0`; no package on the Python index has its transform with the
progressive switch. Where it is missing the picture stays as it is, and `omnishot doctor` says so.
"""

import ctypes
from functools import cache

_PROGRESSIVE = 32
"""`TJXOPT_PROGRESSIVE` of turbojpeg.h 2.1."""


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
    library = _library()
    if library is None:
        return jpeg
    handle = library.tjInitTransform()
    result, size = ctypes.c_void_p(), ctypes.c_ulong(0)
    transform = _Transform(options=_PROGRESSIVE)
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
        return ctypes.string_at(result, size.value) if status == 0 else jpeg
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
    library.tjFree.argtypes = (ctypes.c_void_p,)
    library.tjDestroy.argtypes = (ctypes.c_void_p,)
    return library
