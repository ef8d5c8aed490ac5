"""Functions of a model, compiled with the options that suit the model."""

import functools
from collections.abc import Callable
from typing import Any

import jax

import oddn_jax


def for_model(**options: Any) -> Callable[[Callable], Callable]:
    """Decorates a function whose first argument is a `VideoModel`: `jax.jit` with `compiler_options` for that model.

    Args:
        options: of `jax.jit`; the first argument must be static.
    """

    def decorate(function):
        @functools.wraps(function)
        def call(model, *arguments, **named):
            # JAX keeps what it has compiled by function and options, so that a new jit compiles nothing again.
            suiting = oddn_jax.compiler_options(model.config)
            return jax.jit(function, compiler_options=suiting, **options)(model, *arguments, **named)

        return call

    return decorate
