"""Initial kernels: PyTorch's spread, and what `kernel_gain` makes of it."""

import jax
import jax.numpy as jnp
import numpy as np

from oddn_jax import ODDNConfig
from oddn_jax.baselines import IODINE
from oddn_jax.export import flatten_params
from oddn_jax.refinement import NUM_IMAGE_CHANNELS


def initial(gain):
    model = IODINE(ODDNConfig.preset("quickstart", kernel_gain=gain))
    return flatten_params(model.init(jax.random.key(0), method="initialize_parameters")["params"])


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
    picture = np.random.default_rng(0).normal(size=(8, 32, 32, NUM_IMAGE_CHANNELS)).astype(np.float32)

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
