"""Keep freed memory for the next tensor.

Linux's usual C library (glibc) hands blocks above 32 MiB back to the system when they are freed, and the end of its heap too. A net that
makes such maps in every layer then waits for fresh pages again and again. `tune` makes it keep them; the process then stays as large as
it ever was. Source: the manual page mallopt(3).
"""

import ctypes
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -3, -4, -8  # mallopt's names for its settings, from malloc.h


def tune() -> bool:
    """Set this for the whole process, at any time; True if it was done, False where the C library is another one."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(ARENA_MAX, 1)  # the heaps of other threads cannot keep large blocks
    return all([mallopt(TRIM_THRESHOLD, (1 << 31) - 1), mallopt(MMAP_THRESHOLD, 1 << 30), mallopt(MMAP_MAX, 0)])
