"""Arrays as safetensors: the one writer of them."""

from collections.abc import Mapping

import numpy as np
import safetensors.numpy


def safetensors_bytes(arrays: Mapping[str, np.ndarray], header: Mapping[str, str]) -> bytes:
    """A safetensors file of these arrays, whatever their order in memory.

    The library writes an array's memory as it lies, but always calls it C order and little endian: arrays in Fortran
    order, slices, reversed and transposed arrays would come back scrambled.

    Args:
      arrays: by name, of any layout.
      header: strings by name, kept beside the arrays.
    """
    plain = {}
    for name, array in arrays.items():
        little = array.dtype.newbyteorder("<")
        # Not np.ascontiguousarray, which makes a vector of a number.
        plain[name] = np.array(array, little, order="C", copy=None)
    return safetensors.numpy.save(plain, metadata=dict(header))
