"""The decoder against a plain convolution of the tiled latents."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from oddn_jax.decoder import BroadcastConvolution
from oddn_jax.layers import coordinate_channels


@pytest.mark.parametrize("size", [(4, 8), (8, 12)])
def test_broadcast_convolution_is_the_convolution_of_the_tiled_latents(tiny_config, size):
    height, width = size
    config = dataclasses.replace(tiny_config, image_height=height, image_width=width)
    latents = jax.random.normal(jax.random.key(0), (5, 6))
    layer = BroadcastConvolution(config)
    variables = layer.init(jax.random.key(1), latents)
    plain = nn.Conv(config.convolution_channels, (3, 3))

    def tiled(variables, latents):
        tiles = jnp.broadcast_to(latents[:, None, None], (5, height, width, 6))
        coordinates = jnp.broadcast_to(coordinate_channels(height, width), (5, height, width, 2))
        return plain.apply(variables, jnp.concatenate([coordinates, tiles], -1))

    np.testing.assert_allclose(
        layer.apply(variables, latents), tiled(variables, latents), rtol=1e-5, atol=1e-5
    )
    ours, reference = (
        jax.grad(lambda v, z, f=f: jnp.sum(jnp.sin(f(v, z))), (0, 1))(variables, latents)
        for f in (layer.apply, tiled)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), ours, reference)


def test_coordinates_run_from_minus_one_to_one():
    coordinates = coordinate_channels(3, 5)
    np.testing.assert_allclose(coordinates[:, 0, 0], [-1, 0, 1])
    np.testing.assert_allclose(coordinates[0, :, 1], [-1, -0.5, 0, 0.5, 1])
