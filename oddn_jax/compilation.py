"""What to tell XLA when it compiles a model's functions, and for which kind of device that is."""

import contextlib
import contextvars
import functools
import os
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

_OPTION = "xla_cpu_experimental_ynn_fusion_type"
_PRODUCTS = "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"
_target: contextvars.ContextVar[str | None] = contextvars.ContextVar("target", default=None)


def platform() -> str:
    """The kind of device that functions are traced for, "cpu" or "gpu": JAX's default, or what `compiling_for` says."""
    return _target.get() or jax.default_backend()


@contextlib.contextmanager
def compiling_for(target: str) -> Iterator[None]:
    """Lets models make the choices that suit a kind of device which this machine does not have, while they are traced.

    Args:
      target: "gpu", for instance; as `jax.default_backend()` calls it there.
    """
    token = _target.set(target)
    try:
        yield
    finally:
        _target.reset(token)


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
    if platform() != "cpu" or _OPTION in os.environ.get("XLA_FLAGS", ""):
        return {}
    return {_OPTION: _PRODUCTS} if _knows_the_option() else {}


@functools.cache
def _knows_the_option() -> bool:
    try:
        jax.jit(jnp.negative, compiler_options={_OPTION: _PRODUCTS}).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
