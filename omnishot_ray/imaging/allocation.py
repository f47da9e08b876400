"""How malloc has to be set in a process that works on pixels.

The C library reads it when a process starts, so whoever starts one passes it on; what the user has
set wins.
"""

MALLOC = {
    # Image work leaves malloc's arenas fragmented; two are enough for one engine thread.
    "MALLOC_ARENA_MAX": "2",
    # Pixels of one picture are the memory of the next, not given back and cleared by the kernel in
    # between: a tenth of the CPU time of a 6 MP photo made small was page faults.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 1024 * 1024),
}
"""Environment by name (mallopt(3))."""
