"""The name of a file by its content: caches, jobs and stored files know it by this."""

from blake3 import blake3


def content_digest(data: bytes) -> bytes:
    """BLAKE3 of the bytes, 32 of them: 6 GB/s where SHA-256 makes 1.7, and without the GIL.

    As hard to forge (O'Connor, Aumasson, Neves, Wilcox-O'Hearn, "BLAKE3", 2020): whoever can send a
    file must not be able to make it pass for another's.
    """
    return blake3(data).digest()
