"""Numba's compiler, with results that do not depend on the machine and a cache that is done without where it fails.

Compiled code keeps to IEEE 754: nothing is reordered, fused or spread over threads.
"""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path

import numba

_OPTIONS = {"error_model": "numpy", "fastmath": False}  # division by zero is infinite or NaN, as in NumPy


def helper(function: Callable) -> Callable:
    """Compiles a function that only compiled functions call, into each of them.

    Calls would cost more than what most of these functions do: every one counts references to its arrays.
    """
    return numba.njit(**_OPTIONS, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)


def digest() -> str:
    """Of everything that is compiled: the texts of this folder."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def kept(function: Callable) -> Callable:
    """Compiles a function at its first call, or takes what an earlier process compiled.

    Numba's cache notices changes of the function's own file and of its closure alone. So the closure has to hold the
    `digest`, or changed helpers would go unnoticed.
    """
    uncached = numba.njit(**_OPTIONS)(function)
    try:
        compiled = numba.njit(**_OPTIONS, cache=True)(function)
    except RuntimeError:  # there is no folder to keep it in
        compiled = uncached

    @functools.wraps(function)
    def call(*arguments):
        nonlocal compiled
        try:
            return compiled(*arguments)
        except Exception:
            # The cache is damaged, or the disk is full. If it was the function itself, it fails again.
            if compiled is uncached:
                raise
            compiled = uncached
            return compiled(*arguments)

    return call
