"""The backbone on coarser pictures: the same parameters, one layer summed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oddn_jax import ODDN, ODDNConfig
from oddn_jax.baselines import SRVP, SRVPConfig
from oddn_jax.layers import average_pixels
from oddn_jax.refinement import POOL

CONFIG = ODDNConfig.preset(
    "quickstart",
    image_height=16,
    image_width=24,
    num_slots=2,
    convolution_channels=3,
    hidden_size=5,
    num_refinement_steps=2,
    num_tracking_steps=0,
    pyramid=0,  # its coarser form is in test_pyramid.py
    background_slot=0.0,
)


@pytest.fixture(scope="module")
def params():
    return ODDN(CONFIG).initialize(jax.random.key(0))


def test_the_code_of_a_coarse_picture_is_that_of_the_fine_one_whose_pixels_repeat_it(params):
    model, coarsen = ODDN(CONFIG).coarser(2)
    assert (model.config.image_height, model.config.image_width) == (8, 12)
    assert model.config.kl_weight == CONFIG.kl_weight / 4
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(8 // POOL, 12 // POOL, 3)).astype(np.float32)
    fine = coarse.repeat(2, 0).repeat(2, 1)
    kernels = (tree["refinement"]["code"]["kernel"] for tree in (params, coarsen(params)))
    of_fine, of_coarse = (
        picture.reshape(-1) @ kernel for picture, kernel in zip((fine, coarse), kernels, strict=True)
    )
    np.testing.assert_allclose(of_coarse, of_fine, rtol=1e-5, atol=1e-6)


def test_nothing_else_changes_and_gradients_reach_every_fine_weight(params):
    model, coarsen = ODDN(CONFIG).coarser(2)
    video = jnp.asarray(np.random.default_rng(1).uniform(size=(1, 3, 16, 24, 3)), jnp.float32)
    keys = jax.random.split(jax.random.key(1), 1)

    def loss(params):
        return model.loss(coarsen(params), average_pixels(video, 2), keys)[0]["loss"]

    gradient = jax.jit(jax.grad(loss))(params)
    code = gradient["refinement"]["code"]["kernel"].reshape(2, 2, 3, 2, 3, 5)  # rows, fine, columns, fine
    assert jnp.abs(code).max() > 0
    np.testing.assert_array_equal(code, jnp.broadcast_to(code[:, :1, :, :1], code.shape))
    coarse = coarsen(params)
    code = coarse["refinement"]["code"].pop("kernel"), params["refinement"]["code"]["kernel"]
    assert code[0].shape == (code[1].shape[0] // 4, 5)
    jax.tree.map(np.testing.assert_array_equal, coarse["decoder"], params["decoder"])


def test_pixels_are_averaged_in_blocks():
    video = np.random.default_rng(2).uniform(size=(2, 4, 6, 3))
    averaged = average_pixels(jnp.asarray(video), 2)
    np.testing.assert_allclose(averaged[1, 0, 2], video[1, :2, 4:].mean((0, 1)), rtol=1e-6)
    assert averaged.shape == (2, 2, 3, 3)


def test_what_cannot_be_coarser_says_so():
    with pytest.raises(
        ValueError, match="16x24 pictures cannot be 4 times coarser: 4 must divide both sides"
    ):
        ODDN(CONFIG).coarser(4)
    with pytest.raises(ValueError, match="SRVP has no form for coarser pictures"):
        SRVP(SRVPConfig()).coarser(2)
