"""What to tell XLA when it compiles a model's functions."""

import functools
import os
from typing import Any

import jax
import jax.numpy as jnp

_OPTION = "xla_cpu_experimental_ynn_fusion_type"
_PRODUCTS_ONLY = "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"
_WIDEST_FOR_YNNPACK = 16  # channels


def compiler_options(config: Any) -> dict[str, str]:
    """Options under which a model's functions run faster: `jax.jit(f, compiler_options=compiler_options(config))`.

    On the CPU, XLA gives convolutions to YNNPACK. Eigen, its library before, is about 1.5 times as fast on 24 channels
    or more, and slower only in the weight gradients of 16 or fewer (measured; docs/speed_and_memory.md).
    So this gives the convolutions of wider models to Eigen, and leaves matrix products with YNNPACK.

    Args:
      config: the model's; a model without `convolution_channels` counts as wide.

    Returns:
      No options on accelerators, for narrow models, where XLA_FLAGS makes that choice already, and where the installed
      XLA does not know the option. `jax.jit` takes such options only outside of another `jax.jit`.
    """
    narrow = getattr(config, "convolution_channels", _WIDEST_FOR_YNNPACK + 1) <= _WIDEST_FOR_YNNPACK
    if narrow or jax.default_backend() != "cpu" or _OPTION in os.environ.get("XLA_FLAGS", ""):
        return {}
    return {_OPTION: _PRODUCTS_ONLY} if _knows_the_option() else {}


@functools.cache
def _knows_the_option() -> bool:
    try:
        jax.jit(jnp.negative, compiler_options={_OPTION: _PRODUCTS_ONLY}).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
