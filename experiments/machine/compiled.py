"""Functions compiled with the options that suit the models."""

import functools
from collections.abc import Callable
from typing import Any

import jax

import oddn_jax


def jit(**options: Any) -> Callable[[Callable], Callable]:
    """Decorates a function: `jax.jit` with `oddn_jax.compiler_options`.

    These hang on the backend, which importing a module must not choose: they are asked for when the function is called.

    Args:
        options: of `jax.jit`.
    """

    def decorate(function):
        @functools.wraps(function)
        def call(*arguments, **named):
            # JAX keeps what it has compiled by function and options, so that a new jit compiles nothing again.
            suiting = oddn_jax.compiler_options()
            return jax.jit(function, compiler_options=suiting, **options)(*arguments, **named)

        return call

    return decorate
