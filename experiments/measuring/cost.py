"""Counts the arithmetic of a function: multiplications and additions of its matrix products and convolutions.

The compiler's own count takes the body of a loop once, however often it runs; this one multiplies it.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core


def count_flops(function: Callable, *inputs: Any) -> float:
    """Floating-point operations of one call, each product and each sum being one.

    A matrix product of m x k by k x n counts 2 m k n; a convolution 2 x (elements of its result) x (window size) x
    (input channels of a group), as if it were nowhere cut by the border. A scan counts its body as often as it runs, a
    condition its dearest branch. Element-wise operations, norms and sums are left out: a few per cent of these models.

    Args:
        inputs: arrays, or `jax.ShapeDtypeStruct`s; nothing is computed.

    Raises:
        ValueError: the function has a loop whose length is not known.
    """
    return _count(jax.make_jaxpr(function)(*inputs).jaxpr)


def _count(jaxpr: core.Jaxpr) -> float:
    return sum(_count_equation(equation) for equation in jaxpr.eqns)


def _count_equation(equation: core.JaxprEqn) -> float:
    name, parameters = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return 2.0 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel, numbers = equation.invars[1].aval, parameters["dimension_numbers"]
        outputs = kernel.shape[numbers.rhs_spec[0]]
        return 2.0 * equation.outvars[0].aval.size * kernel.size / outputs
    inner = [_count(body) for body in _bodies(parameters)]
    if not inner:
        return 0.0
    if name == "while":
        if any(inner):
            raise ValueError("a while loop has no known length: its operations cannot be counted")
        return 0.0
    if name == "cond":
        return max(inner)
    return parameters.get("length", 1) * sum(inner)


def _bodies(parameters: dict[str, Any]) -> list[core.Jaxpr]:
    values = [
        x for value in parameters.values() for x in (value if isinstance(value, tuple | list) else (value,))
    ]
    # One class in JAX 0.12, two before.
    return [getattr(x, "jaxpr", x) for x in values if isinstance(x, core.Jaxpr | core.ClosedJaxpr)]
