"""Convolutions and their gradients, against JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oddn_jax.convolution import convolve


def plain(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def with_gradients(function, dtype, inputs, outputs, window):
    """The result of a convolution over [3 6 9 inputs], and the gradients that a random one of it gives."""
    random = np.random.default_rng(0)
    x, kernel, gradient = (
        jnp.asarray(random.normal(size=shape), dtype)
        for shape in ((3, 6, 9, inputs), (*window, inputs, outputs), (3, 6, 9, outputs))
    )

    @jax.jit
    def compute(x, kernel, gradient):
        y, pull_back = jax.vjp(function, x, kernel)
        return y, *pull_back(gradient)

    return compute(x, kernel, gradient)


@pytest.mark.parametrize("window", [(3, 3), (5, 3)])
@pytest.mark.parametrize("inputs, outputs", [(20, 4), (4, 20), (40, 20), (20, 40), (4, 2), (20, 20)])
def test_a_convolution_and_its_gradients_are_those_of_jax(inputs, outputs, window):
    computed, expected = (
        with_gradients(function, jnp.float32, inputs, outputs, window) for function in (convolve, plain)
    )
    for ours, exact in zip(computed, expected):
        np.testing.assert_allclose(ours, exact, rtol=1e-4, atol=2e-6 * jnp.abs(exact).max())


@pytest.mark.parametrize("inputs, outputs", [(20, 4), (4, 20)])
def test_a_convolution_in_bfloat16_rounds_no_more_than_jax(inputs, outputs):
    computed, expected = (
        with_gradients(function, jnp.bfloat16, inputs, outputs, (3, 3)) for function in (convolve, plain)
    )
    jax.tree.map(np.testing.assert_array_equal, computed, expected)
