"""Initial kernels: PyTorch's spread, and what `kernel_gain` makes of it."""

import jax
import jax.numpy as jnp
import numpy as np

from oddn_jax import ODDNConfig
from oddn_jax.baselines import IODINE
from oddn_jax.config import NUM_FEATURES
from oddn_jax.export import flatten_params
from oddn_jax.layers import Convolution
from oddn_jax.refinement import NUM_FRAME_CHANNELS, NUM_SLOT_CHANNELS, InputConvolution, RefinementInputs


def initial(gain):
    model = IODINE(ODDNConfig.preset("quickstart", pyramid=0, kernel_gain=gain))
    return flatten_params(model.initialize(jax.random.key(0)))


def test_the_gain_scales_exactly_the_kernels_in_front_of_an_activation():
    plain, wide = initial(1.0), initial(2.2)
    scaled = {name for name in plain if not np.allclose(plain[name], wide[name])}
    for name in scaled:
        np.testing.assert_allclose(wide[name], 2.2 * plain[name], rtol=1e-6)
    assert scaled == {
        *(f"decoder/conv_{i}/kernel" for i in range(4)),
        *(f"refinement/conv_{i}/kernel" for i in range(4)),
        "refinement/code/kernel",
    }


def test_the_quickstarts_gain_carries_a_signal_through_the_refinement_network():
    """With PyTorch's own spread the picture's share shrinks about threefold in each layer."""
    picture = (
        np.random.default_rng(0)
        .normal(size=(8, 32, 32, NUM_FRAME_CHANNELS + NUM_SLOT_CHANNELS))
        .astype(np.float32)
    )

    def spread(gain):
        x, params = picture, initial(gain)
        for i in range(4):
            kernel = params[f"refinement/conv_{i}/kernel"]
            x = jax.nn.elu(
                jax.lax.conv_general_dilated(
                    x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
                )
            )
        return float(jnp.std(x, axis=(0, 1, 2)).mean())

    assert spread(1.0) < 0.1
    assert 0.5 < spread(2.2) < 2


def test_channels_that_all_slots_share_are_convolved_once_and_come_out_the_same():
    random = np.random.default_rng(0)
    frame, slots = (
        random.normal(size=(2, *one, 8, 12, c)).astype(np.float32) for one, c in (((), 22), ((3,), 10))
    )
    inputs = RefinementInputs(jnp.asarray(frame), jnp.asarray(slots), jnp.zeros((2, 3, 4)))
    assert inputs.image.shape == (2, 3, 8, 12, NUM_FRAME_CHANNELS + NUM_SLOT_CHANNELS + NUM_FEATURES)
    np.testing.assert_array_equal(inputs.image[:, 1, ..., 3:13], slots[:, 1])
    np.testing.assert_array_equal(inputs.image[:, 1, ..., 13:], frame[..., 3:])
    usual = Convolution(32, 5)
    params = usual.init(jax.random.key(0), jnp.zeros((1, 8, 12, 32)))
    expected = usual.apply(params, inputs.image.reshape(6, 8, 12, 32)).reshape(2, 3, 8, 12, 5)
    shared = InputConvolution(32, 5, "float32", 1.0)
    jax.tree.map(np.testing.assert_array_equal, shared.init(jax.random.key(0), *inputs[:2]), params)
    np.testing.assert_allclose(shared.apply(params, *inputs[:2]), expected, rtol=1e-4, atol=1e-5)
