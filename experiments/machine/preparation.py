"""What every program does before it uses JAX for the first time: a compilation cache, and memory that is kept."""

import ctypes
import os
import pathlib
import sys
import tempfile
from importlib import metadata

import jax


def prepare() -> None:
    """What every program does before it uses JAX for the first time: a compilation cache, and memory that is kept.

    Compiled steps are kept in the user's cache folder, unless JAX_COMPILATION_CACHE_DIR names another. Whoever has no
    such folder, or may not write there, compiles anew each time.
    """
    keep_freed_memory()
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", cache_folder())


def cache_folder() -> str | None:
    """Where compiled steps are kept; None where there is no home, or nothing can be written to it."""
    try:
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
        folder = cache / "oddn_jax" / "jax"
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (RuntimeError, OSError):  # the first: neither HOME nor an entry in the system's list of users
        return None
    return str(folder)


def keep_freed_memory() -> bool:
    """Lets this process keep the memory that it frees, for its next step; to be called before JAX makes its threads.

    XLA on the CPU asks for all its intermediate results anew at each step. Where the C library has given so much memory
    back, up to a third of a training step is the kernel handing out zeroed pages (measured; docs/speed_and_memory.md).

    Returns:
        whether it does: not with an accelerator's plugin, without glibc, or where the environment sets up malloc.
    """
    theirs = any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get(
        "GLIBC_TUNABLES", ""
    )
    if sys.platform != "linux" or theirs or metadata.entry_points(group="jax_plugins"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # malloc.h: no mapping for a single block, no giving back from the end of the heap, one heap for all threads.
    never_map, never_trim, one_heap = (-4, 0), (-1, -1), (-8, 1)
    return all([mallopt(*option) for option in (never_map, never_trim, one_heap)])
