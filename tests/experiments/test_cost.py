"""Counted operations against hand counts, and against the compiler's own where there is no loop."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import oddn_jax
from experiments.measuring.cost import count_flops
from tests.experiments.tiny import get_config


def test_products_and_convolutions():
    a, b = jnp.zeros((5, 2, 3)), jnp.zeros((5, 3, 7))
    assert count_flops(jnp.matmul, a, b) == 2 * 5 * 2 * 3 * 7
    x, kernel = jnp.zeros((2, 8, 6, 4)), jnp.zeros((3, 3, 4, 10))

    def convolve(x, kernel):
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    forward = 2 * (2 * 8 * 6) * 9 * 4 * 10
    assert count_flops(convolve, x, kernel) == forward
    # The gradients by the input and by the kernel cost as much as the convolution, each.
    assert (
        count_flops(jax.grad(lambda *inputs: convolve(*inputs).sum() ** 2, (0, 1)), x, kernel) == 3 * forward
    )


def test_loops_and_branches():
    matrix = jnp.zeros((4, 4))

    def repeated(x):
        return lax.scan(lambda x, _: (jax.jit(jnp.matmul)(x, matrix), None), x, length=6)[0]

    assert count_flops(repeated, matrix) == 6 * 2 * 4**3
    assert count_flops(jax.checkpoint(repeated), matrix) == 6 * 2 * 4**3
    assert count_flops(lambda x: lax.cond(True, repeated, jnp.sin, x), matrix) == 6 * 2 * 4**3
    with pytest.raises(ValueError, match="while loop"):
        count_flops(lambda x: lax.while_loop(lambda x: x[0, 0] < 1, repeated, x), matrix)


def test_the_parts_of_the_paper_s_model():
    """The decoder's share of Table 4's 17.2 GFLOP for seven slots, without the activations that are counted there."""
    model = oddn_jax.baselines.IODINE(oddn_jax.ODDNConfig.preset("prediction"))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), method="initialize_parameters"))
    latents = jax.ShapeDtypeStruct((7, 64), jnp.float32)
    decode = count_flops(lambda params, z: model.apply(params, z, method="decode"), params, latents)
    # Its first convolution, over tiled latents, is computed as products that cost next to nothing.
    first, biases = 2 * 7 * 64**2 * 9 * 66 * 64, 7 * 64**2 * (4 * 64 + 4)
    assert decode + first == pytest.approx(8_653_897_728 - biases, rel=0.01)


def test_the_compiler_agrees_where_nothing_is_repeated():
    config = get_config().model
    model = oddn_jax.baselines.IODINE(config)
    video, key = jnp.zeros((2, 16, 16, 3)), jax.random.key(0)
    params = model.initial_variables(key)

    def infer(params, video):
        return model.apply(params, video, key, method="infer").decoded.reconstruction

    compiled = jax.jit(infer).lower(params, video).compile().cost_analysis()["flops"]
    assert count_flops(infer, params, video) == pytest.approx(compiled, rel=0.15)
