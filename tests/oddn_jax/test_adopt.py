"""What a model takes over from one of other pictures or with another number of slots."""

import dataclasses

import jax
import numpy as np
import pytest

from oddn_jax import ODDN, ODDNConfig
from oddn_jax.baselines import IODINE

SMALL = ODDNConfig.preset(
    "quickstart", image_height=16, image_width=16, num_slots=3, convolution_channels=3, hidden_size=5
)


@pytest.fixture(scope="module")
def params():
    return jax.device_get(ODDN(SMALL).initialize(jax.random.key(0)))


def adopted(params, model=ODDN, **other):
    return model(dataclasses.replace(SMALL, **other)).adopt(params, ODDN(SMALL))


@pytest.mark.parametrize(
    "other",
    [{"image_height": 32, "image_width": 48}, {"num_slots": 6}, {"num_slots": 2, "image_height": 32}],
    ids=["larger pictures", "more slots", "fewer slots of larger pictures"],
)
def test_what_is_adopted_fits(params, other):
    model = ODDN(dataclasses.replace(SMALL, **other))
    wanted = jax.eval_shape(model.initialize, jax.random.key(0))
    found = model.adopt(params, ODDN(SMALL))
    assert jax.tree.map(np.shape, found) == jax.tree.map(np.shape, wanted)
    same = set(found) - {"refinement", "initial_posterior"}
    jax.tree.map(np.testing.assert_array_equal, *({name: x[name] for name in same} for x in (found, params)))


def test_a_picture_repeated_on_twice_the_size_says_four_times_as_much(params):
    kernel = params["refinement"]["code"]["kernel"]
    of_larger = adopted(params, image_height=32, image_width=32)["refinement"]["code"]["kernel"]
    picture = np.random.default_rng(0).normal(size=(4, 4, len(kernel) // 16)).astype(np.float32)
    repeated = picture.repeat(2, 0).repeat(2, 1)
    np.testing.assert_allclose(repeated.ravel() @ of_larger, 4 * picture.ravel() @ kernel, rtol=1e-4)


def test_a_place_looks_where_the_nearest_place_looked(params):
    """From four columns to six; the second and the fifth lie halfway, and take the later one."""
    before = params["refinement"]["code"]["kernel"].reshape(4, 4, -1)
    after = adopted(params, image_width=24)["refinement"]["code"]["kernel"].reshape(4, 6, -1)
    np.testing.assert_array_equal(after, before[:, [0, 1, 1, 2, 3, 3]])


def test_further_slots_start_as_the_former_objects_do_and_none_as_the_background(params):
    posterior = params["initial_posterior"]
    found = adopted(params, num_slots=6)["initial_posterior"]
    np.testing.assert_array_equal(found, posterior[[0, 1, 2, 1, 2, 1]])


def test_a_model_of_the_same_sizes_or_of_another_kind_takes_them_as_they_are(params):
    assert adopted(params) is params and adopted(params, IODINE, num_slots=6) is params
