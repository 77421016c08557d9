"""Keeping freed memory for the next step instead of giving it back to the system."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> bool:
    """Let glibc's allocator keep what this process frees, from now on; other platforms are left as they are.

    Every step of a training frees and takes the same large blocks. Glibc gives blocks of more than 32 MiB straight back
    to the system and returns the rest as soon as it lies at the end of the heap; the next step then gets fresh pages,
    which the system hands out and clears one by one, 4 KiB each. The price is that the process keeps the size of
    its largest step until it ends, and more where lengths vary, as blocks that were freed do not fit others.

    Returns:
        Whether the allocator took the settings.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none, or one that does nothing
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))
