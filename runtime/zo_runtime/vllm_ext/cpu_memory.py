"""The C library's allocator, told to keep what a forward pass frees: the next layer asks for the same again.

By default glibc hands large blocks back to the system, which zeroes them page by page when they are asked for anew.
On CPU every tensor between two operations is such a block: a small model's gated activation takes five times as long.
"""

from __future__ import annotations

import ctypes

# Parameters of glibc's `mallopt`, from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT = 2**30


def keep_freed_memory() -> None:
    """Keep freed blocks of up to 1 GiB in this process. Other C libraries have no such setting: nothing happens."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
