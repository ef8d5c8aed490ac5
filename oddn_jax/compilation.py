"""What to tell XLA when it compiles a model's functions."""

import functools
import os
from typing import Any

import jax
import jax.numpy as jnp

_OPTION = "xla_cpu_experimental_ynn_fusion_type"
_PRODUCTS = "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"


def compiler_options(config: Any = None) -> dict[str, str]:
    """Options under which a model's functions run faster: `jax.jit(f, compiler_options=compiler_options())`.

    On the CPU, XLA gives convolutions to YNNPACK, which runs each of them on one core, whatever the processor (JAX
    0.10). So this gives them to Eigen, its library before, which uses all cores, and leaves matrix products with
    YNNPACK. Measured on two cores of an AMD and of an Intel processor, from 16 channels on
    (docs/speed_and_memory.md); `python -m experiments.benchmark --parts=layers` measures it on yours.

    Args:
      config: of a model; the choice no longer hangs on it, and programs that name one go on as they are.

    Returns:
      No options on accelerators, where XLA_FLAGS makes that choice already, and where the installed XLA does not know
      the option. `jax.jit` takes such options only outside of another `jax.jit`.
    """
    if jax.default_backend() != "cpu" or _OPTION in os.environ.get("XLA_FLAGS", ""):
        return {}
    return {_OPTION: _PRODUCTS} if _knows_the_option() else {}


@functools.cache
def _knows_the_option() -> bool:
    try:
        jax.jit(jnp.negative, compiler_options={_OPTION: _PRODUCTS}).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
